"""What the page sends for its reader, and the words beside what comes back.

Where a token comes from, as the steps say it too: with *Client secret* and *Private key* from the
issuer's token endpoint, over HTTP. A wrong token is made by the page, since the token endpoint
issues none; so is a good one while the issuer is down. Okta would get none then, and the hook would
not be sent; the page sends it all the same, to show that the service has the keys and goes on.
While the issuer is slow, the request for a token takes up Okta's three seconds, as it would.
"""

import json
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import click
from flask import current_app

from local_okta import client
from local_okta.authorization_server import LocalOkta
from local_okta.client import Answer
from local_okta.credentials import WRONG_TOKENS
from local_okta.judge import SIZE_LIMIT, judge, judge_verification
from local_okta.page_steps import notes, steps
from local_okta.page_token import Expected, explain
from local_okta.samples import SAMPLES
from local_okta.service import base_of, basic_pair, event_hook_paths

FROM_TOKEN_ENDPOINT = ("Client secret", "Private key")
WRONG = {name.capitalize(): make for name, make in WRONG_TOKENS.items()}
AUTHENTICATIONS = ("Basic", *FROM_TOKEN_ENDPOINT, "None", "Wrong password", *WRONG)
START = "make run (or flask run)"


class BadInput(Exception):
    """`str()` goes beside the field; nothing was sent."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


class Sender:
    """Sends requests as Okta does, with the credentials of `okta` and of the service's settings."""

    def __init__(
        self, okta: LocalOkta, service_context: Callable, issuer_is_down: Callable[[], bool]
    ):
        self._okta = okta
        self._service_context = service_context
        self._issuer_is_down = issuer_is_down

    def situation(self) -> dict:
        """What the reader needs to know before the first request."""
        with self._service_context():
            error = current_app.config["SETTINGS_ERROR"]
            auth_mode = current_app.config["SETTINGS"].auth_mode
        return {
            "settings_error": str(error) if error else None,
            "default": "Client secret" if auth_mode == "oauth" else "Basic",
            "lines": self.lines(),
        }

    def lines(self) -> list[str]:
        """What makes the service accept the tokens of this local Okta."""
        return [
            "AUTH_MODE=oauth",
            f"OKTA_ISSUER={self._okta.issuer}",
            f"OKTA_CLIENT_ID={self._okta.client_id}",
            f"OKTA_SCOPE={self._okta.scopes[0]}",
        ]

    def send(self, form: dict[str, str]) -> dict:
        """Send the request, and say all that there is to say about it. Raises BadInput."""
        base, payload = _base(form["service"]), _payload(form["request"])
        sample, name = SAMPLES.get(form["hook"]), form["authentication"]
        if sample is None or name not in AUTHENTICATIONS:
            raise BadInput("hook", "There is no such hook or authentication.")
        made_here = name in WRONG or (name in FROM_TOKEN_ENDPOINT and self._issuer_is_down())
        credentials = self._credentials(name, made_here)
        url = base + sample.path
        answer = client.send(url, payload, kind=sample.kind, credentials=credentials)
        verdict = judge(sample.kind, payload, answer)
        token = self._token(answer)
        return {
            "hook": sample.name,
            "kind": sample.kind,
            "authentication": name,
            "service": base,
            "sent": {
                "line": f"POST {url}",
                "headers": list(answer.sent.items()),
                "body": json.dumps(payload, indent=2, ensure_ascii=False),
                "payload": payload,
            },
            "response": _response(answer),
            "milliseconds": answer.milliseconds,
            "verdict": {"accepted": verdict.accepted, "sentence": f"{verdict.sentence}."},
            "notes": notes(sample.kind, name, answer, token, self.lines()),
            "steps": steps(name, answer, made_here=made_here),
            "token": token,
            "errors": _unreachable(base, answer),
        }

    def verify(self, form: dict[str, str]) -> list[dict]:
        """Okta's one-time check of each event hook. Raises BadInput."""
        base, credentials = _base(form["service"]), self._credentials("Basic", made_here=False)
        with self._service_context():
            paths = event_hook_paths()
        rows = []
        for path in paths:
            challenge = secrets.token_urlsafe(24)
            answer = client.verify(base + path, challenge, credentials=credentials)
            verdict = judge_verification(challenge, answer)
            if errors := _unreachable(base, answer):
                raise BadInput("service", errors["service"])
            row = {"name": path, "authentication": "Basic", "status": str(answer.status or "–")}
            row |= {"milliseconds": answer.milliseconds, "accepted": verdict.accepted}
            rows.append(row | {"sentence": f"{verdict.sentence}."})
        return rows

    def _credentials(self, name: str, made_here: bool) -> client.Credentials:
        okta = self._okta
        target, scope = (okta.token_endpoint, okta.client_id), okta.scopes[0]
        if made_here:
            return client.bearer(WRONG[name](okta) if name in WRONG else okta.issue())
        if name == "Client secret":
            return client.client_secret(*target, okta.client_secret, scope)
        if name == "Private key":
            return client.private_key(*target, okta.client_key, scope)
        if name == "None":
            return client.no_credentials
        user, password = self._basic_pair()
        return client.basic(user, password if name == "Basic" else secrets.token_urlsafe(24))

    def _basic_pair(self) -> tuple[str, str]:
        with self._service_context():
            if current_app.config["SETTINGS_ERROR"]:
                raise BadInput("authentication", "There is no pair: the settings are wrong.")
            try:
                return basic_pair()
            except click.ClickException as error:
                again = "Then start the service and flask okta serve again."
                raise BadInput("authentication", f"{error.message}\n{again}") from None

    def _expected(self) -> Expected:
        """What the service expects of a token: as its settings say, else as the four lines do."""
        with self._service_context():
            read = current_app.config["SETTINGS"]
        if read.auth_mode != "oauth":
            okta = self._okta
            ours = (okta.issuer, okta.audience, frozenset({okta.client_id}), okta.scopes[0])
            return Expected(*ours)
        return Expected(read.okta_issuer, read.okta_audience, read.okta_client_id, read.okta_scope)

    def _token(self, answer: Answer) -> dict | None:
        scheme, _, token = answer.sent.get("Authorization", "").partition(" ")
        return explain(token, self._expected(), self._okta.keys) if scheme == "Bearer" else None


def _base(address: str) -> str:
    base = base_of(address.strip())
    if base is None:
        raise BadInput("service", f"“{address}” is not an address such as http://127.0.0.1:5000")
    return base


def _payload(text: str) -> dict:
    try:
        payload = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadInput("request", f"This is not JSON: {where}: {error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise BadInput("request", f"This cannot be sent as JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise BadInput("request", "Okta sends a JSON object: it begins with { and ends with }.")
    return payload


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value of JSON")


def _response(answer: Answer) -> dict | None:
    if answer.status is None:
        return None
    body = answer.body[:SIZE_LIMIT].decode(errors="replace")
    if answer.json is not None:
        body = json.dumps(answer.json, indent=2, ensure_ascii=False)
    return {
        "status": answer.status,
        "line": answer.status_line,
        "headers": list(answer.headers.items()),
        "body": body,
        "json": answer.json,
    }


def _unreachable(base: str, answer: Answer) -> dict[str, str]:
    """What to say beside the address where nothing listens at it."""
    host = urlsplit(base).netloc
    if answer.status is None and (answer.error or "").startswith(f"{host}: "):
        reason = answer.error.removeprefix(f"{host}: ")
        return {"service": f"Nothing answers at {base} ({reason}). Start it: {START}"}
    return {}
