"""Okta's management API over HTTP: errors, rate limits, pages.

Reference: https://developer.okta.com/docs/api/openapi/okta-management/guides/overview/
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any, NoReturn
from urllib.parse import quote, urljoin, urlsplit

import requests

from auth.keys import session_for

Json = dict[str, Any]

API = "/api/v1"
ORGANIZATION = "/.well-known/okta-organization"
USER_AGENT = "okta-hooks-flask/1"
# For connecting, and for the answer: `verify` and `execute` wait for two requests to the hook.
TIMEOUT = (5, 30)
NO_API_ACCESS_MANAGEMENT = "E0000015"
SAFE_TO_REPEAT = ("GET", "PUT", "DELETE")
LONGEST_PAUSE = 60
# How often a request is sent again after the error, and the pause before it in seconds, if that
# does not depend on the answer.
REPEATS = {"rate limit": (3, None), "priorities": (5, 2), "failure": (2, 1)}
LONGEST_TEXT = 300

# What the token needs for the calls of each kind: the role, the scope, the permission.
RIGHTS = {
    "inlineHooks": ("Super Administrator", "okta.inlineHooks.manage", "okta.inlinehooks.manage"),
    "hook-keys": ("Super Administrator", "okta.inlineHooks.manage", "okta.inlinehooks.manage"),
    "eventHooks": ("Super Administrator", "okta.eventHooks.manage", "okta.eventhooks.manage"),
    "apps": (
        "Super Administrator",
        "okta.apps.manage",
        "okta.apps.manage and okta.apps.clientCredentials.read",
    ),
    "authorizationServers": (
        "Super Administrator",
        "okta.authorizationServers.manage",
        "okta.authzServers.manage",
    ),
}
REACH = (
    "Does the URL lead to the service, does a tunnel run, is the certificate good? The service's "
    "log has a line for each request that has reached it"
)
ADVICE = {
    "E0000011": "The token is wrong, expired or revoked. Make one under Security > API > Tokens",
    NO_API_ACCESS_MANAGEMENT: (
        "This org has no API Access Management, which OAuth 2.0 for hooks needs. HTTP Basic works "
        "without it: --auth basic, and AUTH_MODE=basic for the service"
    ),
    "E0000047": "The rate limit was still reached after a few pauses. Try again in a minute",
    "E0000134": REACH,
    "E0000135": "The service refused the request, and its log says why. See “other settings” below",
    "E0000137": REACH,
}


class OktaError(Exception):
    """Okta refused, or did not answer. `str()` is for the terminal, and holds no secret."""

    def __init__(self, message: str, *, status: int | None = None, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


class NoAnswer(OktaError):
    """Whether Okta has done what it was asked for is not known."""


class Okta:
    """One org. `org` is its address, `authorization` the header that each request carries.

    `notify` is told why a request waits for long.
    """

    def __init__(self, org: str, authorization: str, *, notify: Callable[[str], None]):
        self.org, self._notify = org, notify
        self._secrets: set[str] = set()
        self.conceal(authorization.partition(" ")[2])
        self._session = session_for(org)
        self._session.headers["User-Agent"] = f"{USER_AGENT} {requests.utils.default_user_agent()}"

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # A header given in any other way gives way to what .netrc has for the host.
            request.headers["Authorization"] = authorization
            return request

        self._session.auth = authorize

    def conceal(self, secret: str) -> None:
        """Never print this, not even if Okta repeats it in an error."""
        self._secrets.add(secret)

    def harmless(self, text: object) -> str:
        """A text from outside for the terminal, without secrets and control characters."""
        shown = str(text)
        for secret in self._secrets:
            shown = shown.replace(secret, "••••")
        return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)

    def harmless_lines(self, text: str) -> str:
        return "\n".join(map(self.harmless, text.split("\n")))

    def organization(self) -> Json:
        """The org that answers at this address. It is asked without credentials."""
        return self._object(self._send("GET", ORGANIZATION, auth=lambda request: request))

    def list(self, path: str) -> list[Json]:
        """All objects of a collection, from all of its pages."""
        items: list[Json] = []
        url, seen = self.org + path, set[str]()
        while url not in seen:
            seen.add(url)
            response = self._send("GET", url)
            page = self._json(response)
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                self._unexpected(response, "something that is not a list of objects")
            items += page
            following = response.links.get("next")
            if not following:
                return items
            url = urljoin(url, following["url"])
            if urlsplit(url)[:2] != urlsplit(self.org)[:2]:
                raise OktaError(
                    f"Okta's list of {path} goes on at another host, which is not asked"
                )
        raise OktaError(f"Okta's list of {path} never ends")

    def get(self, path: str) -> Json:
        return self._object(self._send("GET", path))

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._object(self._send("POST", path, body))

    def put(self, path: str, body: Json) -> Json:
        return self._object(self._send("PUT", path, body))

    def delete(self, path: str) -> None:
        """Delete it. That it is gone already is fine."""
        try:
            self._send("DELETE", path)
        except OktaError as error:
            if error.status != 404:
                raise

    def _send(self, method: str, url: str, body: Json | None = None, **options: Any) -> Any:
        url = url if url.startswith(f"{self.org}/") else self.org + url
        sent = dict.fromkeys(REPEATS, 0)
        while True:
            options |= {"timeout": TIMEOUT, "allow_redirects": False}
            response = None
            try:
                response = self._session.request(method, url, json=body, **options)
                why = _why_again(method, response)
            except requests.RequestException as error:
                why, name = "failure" if method in SAFE_TO_REPEAT else "", type(error).__name__
            times, pause = REPEATS.get(why, (0, None))
            if not why or sent[why] >= times:
                break
            sent[why] += 1
            seconds = pause or _until_reset(response)
            if seconds > 2:
                self._notify(f"Okta's rate limit is reached: going on in {seconds:.0f} s")
            sleep(seconds)
        if response is None:
            message = f"No answer from {self.org} to {method} {_path(url)} ({name})"
            advice = "Is OKTA_ISSUER right, and does this network lead there?"
            raise NoAnswer(f"{message}. {advice}")
        if not 200 <= response.status_code < 300:
            self._refused(response)
        return response

    def _json(self, response: requests.Response) -> Any:
        if not response.content:
            return {}
        try:
            return response.json()
        except (ValueError, RecursionError):
            return self._unexpected(response, "something that is not JSON")

    def _object(self, response: requests.Response) -> Json:
        answer = self._json(response)
        return answer if isinstance(answer, dict) else self._unexpected(response, "no JSON object")

    def _unexpected(self, response: requests.Response, what: str) -> NoReturn:
        raise OktaError(
            f"{self.org} answered {_request(response)} with {what} (status "
            f"{response.status_code}). Does a proxy answer in Okta's place?",
            status=response.status_code,
        )

    def _refused(self, response: requests.Response) -> NoReturn:
        status = response.status_code
        if 300 <= status < 400:
            raise OktaError(
                f"{self.org} answered {_request(response)} with a redirect, which is not followed. "
                "OKTA_ISSUER must have the address of the org itself",
                status=status,
            )
        try:
            body = response.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("errorCode"), str):
            self._unexpected(response, "an error that is not one of Okta's")
        code, causes = body["errorCode"], body.get("errorCauses")
        lines = [f"Okta answered {_request(response)} with {status} {code}:"]
        lines.append(str(body.get("errorSummary")))
        for cause in causes if isinstance(causes, list) else []:
            lines.append(str(cause.get("errorSummary") if isinstance(cause, dict) else cause))
        lines.append(f"errorId {body.get('errorId')}, for Okta's support")
        lines = [self.harmless(line)[:LONGEST_TEXT] for line in lines]
        if advice := _right_for(response) if code == "E0000006" else ADVICE.get(code):
            lines.append(f"{advice}.")
        raise OktaError("\n  ".join(lines), status=status, code=code)


def path_of(*parts: str) -> str:
    """A path of the API."""
    return "/".join((API, *map(quoted, parts)))


def quoted(part: object) -> str:
    """A part of a path. It comes from one of Okta's answers, and must not lead elsewhere."""
    return quote(str(part), safe="")


def _why_again(method: str, response: requests.Response) -> str:
    """The reason to send the request again, if there is one."""
    if response.status_code == 429:
        return "rate limit"
    if response.status_code == 423:
        return "priorities"
    return "failure" if response.status_code == 500 and method in SAFE_TO_REPEAT else ""


def _until_reset(response: requests.Response | None) -> float:
    """Seconds until the rate limit is reset, by Okta's clock."""
    headers = {} if response is None else response.headers
    try:
        date = parsedate_to_datetime(headers["Date"]).timestamp()
        seconds = int(headers["X-Rate-Limit-Reset"]) - date + 1
    except (KeyError, ValueError):
        seconds = LONGEST_PAUSE
    return min(max(seconds, 1), LONGEST_PAUSE)


def _right_for(response: requests.Response) -> str:
    kind = _path(response.url).removeprefix(f"{API}/").partition("/")[0]
    if kind not in RIGHTS:
        return ""
    role, scope, permission = RIGHTS[kind]
    return (
        f"The token's administrator needs the role {role}, or a custom role with {permission}; "
        f"an OAuth 2.0 access token needs the scope {scope} as well"
    )


def _request(response: requests.Response) -> str:
    return f"{response.request.method} {_path(response.url)}"


def _path(url: str) -> str:
    return urlsplit(url).path
