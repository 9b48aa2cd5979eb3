"""What the page sends for you, and how it explains what comes back.

With *Client secret* and *Private key*, a token comes from the issuer's token endpoint, over HTTP.
While the issuer is slow, the request for it takes up Okta's three seconds, and nothing is sent to
the hook. While it is down, Okta would not send anything either. The page then signs a token itself,
and says so, to show that the service keeps working with the keys that it has. It also makes the
wrong tokens itself, since the token endpoint does not issue any.
"""

import json
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click
from flask import current_app

from local_okta import client
from local_okta.authorization_server import HOST, LocalOkta
from local_okta.client import Answer
from local_okta.credentials import WRONG_TOKENS
from local_okta.judge import Verdict, judge, judge_verification
from local_okta.own_request import NotARequest, kind_of, path_of, payload_of
from local_okta.page_steps import not_sent, notes, steps
from local_okta.page_token import Expected, explain
from local_okta.samples import SAMPLES
from local_okta.service import (
    SERVICE_URL,
    START,
    after_events,
    base_of,
    basic_pair,
    event_hook_paths,
    hook_paths,
)

FROM_TOKEN_ENDPOINT = ("Client secret", "Private key")
WRONG = {name.capitalize(): make for name, make in WRONG_TOKENS.items()}
AUTHENTICATIONS = ("Basic", *FROM_TOKEN_ENDPOINT, "None", "Wrong password", *WRONG)


class BadInput(Exception):
    """Nothing was sent. `str()` is shown at the field; `position` is where in it, if known."""

    def __init__(self, field: str, message: str, position: int | None = None):
        super().__init__(message)
        self.field = field
        self.position = position


class Sender:
    """Sends requests as Okta does, with the credentials of `okta` and of the service's settings."""

    def __init__(
        self, okta: LocalOkta, service_context: Callable, issuer_is_down: Callable[[], bool]
    ):
        self._okta = okta
        self._service_context = service_context
        self._issuer_is_down = issuer_is_down

    def situation(self) -> dict:
        """What the page needs to know before the first request."""
        with self._service_context():
            error = current_app.config["SETTINGS_ERROR"]
            auth_mode = current_app.config["SETTINGS"].auth_mode
        return {
            "settings_error": str(error) if error else None,
            "default": "Client secret" if auth_mode == "oauth" else "Basic",
            "lines": self.lines(),
        }

    def lines(self) -> list[str]:
        """The lines of `.env` that make the service accept the tokens of this local Okta."""
        return [
            "AUTH_MODE=oauth",
            f"OKTA_ISSUER={self._okta.issuer}",
            f"OKTA_CLIENT_ID={self._okta.client_id}",
            f"OKTA_SCOPE={self._okta.scopes[0]}",
        ]

    def send(self, form: dict[str, str]) -> dict:
        """Send the request, and describe everything that happened. Raises BadInput."""
        sample, name = SAMPLES.get(form["hook"]), form["authentication"]
        if sample is None or name not in AUTHENTICATIONS:
            raise BadInput("hook", "There is no such hook or authentication.")
        path = _checked("path", path_of, form["path"])
        base, payload = self._base(form["service"], path), _payload(form["request"])
        kind = kind_of(payload, sample.kind)
        made_here = name in WRONG or (name in FROM_TOKEN_ENDPOINT and self._issuer_is_down())
        credentials = self._credentials(name, made_here)
        answer = client.send(base + path, payload, kind=kind, credentials=credentials)
        verdict = judge(kind, payload, answer)
        token = self._token(answer)
        remarks = notes(kind, name, answer, token, self.lines(), made_here=made_here)
        if kind == "event" and verdict.accepted:
            with self._service_context():
                remarks.append(after_events())
        return {
            "kind": kind,
            "path": path,
            "service": base,
            "payload": payload,
            "sent": _sent(base + path, payload, answer),
            "not_sent": not_sent(answer),
            "response": _response(answer),
            "milliseconds": answer.milliseconds,
            "times": answer.times,
            "verdict": _verdict(kind, verdict),
            "notes": remarks,
            "steps": steps(name, answer, made_here=made_here),
            "token": token,
            "errors": _unreachable(base, answer),
        }

    def verify(self, form: dict[str, str]) -> list[dict]:
        """Okta's one-time check of each event hook. Raises BadInput."""
        base, credentials = self._base(form["service"]), self._credentials("Basic", made_here=False)
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
            row |= {"milliseconds": answer.milliseconds}
            rows.append(row | _verdict("event", verdict))
        return rows

    def _base(self, address: str, *paths: str) -> str:
        with self._service_context():
            base = base_of(address.strip(), [*hook_paths(), *paths])
        if base is None:
            raise BadInput("service", f"“{address}” is not an address such as {SERVICE_URL}")
        parts = urlsplit(base)
        if parts.hostname in (HOST, "localhost") and (parts.port or 80) == self._okta.port:
            raise BadInput(
                "service",
                "This is the address of the local Okta itself, which has no guard and no hook. "
                f"The service has a different one, such as {SERVICE_URL}",
            )
        return base

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
                raise BadInput(
                    "authentication", "There are no credentials: the settings are wrong."
                )
            try:
                return basic_pair()
            except click.ClickException as error:
                again = "Then restart the service and flask okta serve."
                raise BadInput("authentication", f"{error.message}\n{again}") from None

    def _expected(self) -> Expected:
        """What the service expects of a token, by its settings or else by the lines for `.env`."""
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


def _checked(field: str, check: Callable[[str], Any], text: str) -> Any:
    try:
        return check(text)
    except NotARequest as error:
        raise BadInput(field, str(error), error.position) from None


def _payload(text: str) -> dict[str, Any]:
    return _checked("request", payload_of, text)


def _sent(url: str, payload: dict, answer: Answer) -> dict | None:
    """The last request that was sent, if any."""
    attempts = [each for each in (answer, answer.before) if each and each.was_sent]
    if not attempts:
        return None
    return {
        "line": f"POST {url}",
        "headers": list(attempts[0].sent.items()),
        "body": json.dumps(payload, indent=2, ensure_ascii=False),
    }


def _verdict(kind: str, verdict: Verdict) -> dict:
    if not verdict.accepted:
        meaning = "Red means that Okta got no answer that it can use."
    elif kind == "event":
        meaning = "Green means that Okta counts this as done, and does not repeat it."
    else:
        meaning = "Green means that Okta does what the hook decided, whether a yes or a no."
    sentence = f"{verdict.sentence}."
    return {"accepted": verdict.accepted, "sentence": sentence, "meaning": meaning}


def _response(answer: Answer) -> dict | None:
    if answer.status is None:
        return None
    body = answer.body.decode(errors="replace")
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
    """The message beside the address if nothing listens there."""
    if answer.was_sent or answer.no_token or answer.timed_out:
        return {}
    reason = answer.error.removeprefix(f"{urlsplit(base).netloc}: ")
    return {"service": f"Nothing answers at {base} ({reason}). Start it: {START}"}
