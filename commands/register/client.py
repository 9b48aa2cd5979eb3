"""Okta's management API over HTTP: errors, rate limits, pages.

Reference: https://developer.okta.com/docs/api/openapi/okta-management/guides/overview/
"""

from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from auth.keys import session_for
from commands.terminal import say

Json = dict[str, Any]

API = "/api/v1"
ORGANIZATION = "/.well-known/okta-organization"
USER_AGENT = f"okta-hooks-flask/1 {requests.utils.default_user_agent()}"
# For connecting, and for the answer: `verify` and `execute` wait for two requests to the hook.
TIMEOUT = (5, 30)
# How often a request is sent again after a status, and the pause in seconds. After 429, Okta says
# how long. A POST that failed is not sent again, since it may have worked.
REPEATS = {429: 3, 423: 5, 500: 2}
PAUSES = {423: 2.0, 500: 1.0}
LONGEST_PAUSE = 60.0

REACH = (
    "Does the URL lead to the service? Is the tunnel running? Is the certificate valid?",
    "The service's log has a line for each request that has reached it.",
)
# What Okta's own words do not say.
ADVICE = {
    "E0000015": (
        "This org has no API Access Management, which OAuth 2.0 for hooks needs.",
        "HTTP Basic works without it: set AUTH_MODE=basic, and OKTA_ISSUER to the org's address.",
    ),
    "E0000134": REACH,
    "E0000137": REACH,
}
# For the calls of each kind: the permission in a custom role, and the scope of an access token.
RIGHTS = {
    "inlineHooks": ("okta.inlinehooks.manage", "okta.inlineHooks.manage"),
    "hook-keys": ("okta.inlinehooks.manage", "okta.inlineHooks.manage"),
    "eventHooks": ("okta.eventhooks.manage", "okta.eventHooks.manage"),
    "apps": ("okta.apps.manage and okta.apps.clientCredentials.read", "okta.apps.manage"),
    "authorizationServers": ("okta.authzServers.manage", "okta.authorizationServers.manage"),
}


class OktaError(Exception):
    """Okta refused, or did not answer. `str()` is for the terminal."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class NoAnswer(OktaError):
    """It is not known whether Okta did what it was asked to do."""


class Okta:
    """One org. `org` is its address, `authorization` the header that each request carries."""

    def __init__(self, org: str, authorization: str):
        self.org = org
        self._secrets = {authorization.partition(" ")[2]}
        self._lists: dict[str, list[Json]] = {}
        self._session = session_for(org)
        self._session.headers["User-Agent"] = USER_AGENT

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # Set in any other way, the header would be replaced by what .netrc has for the host.
            request.headers["Authorization"] = authorization
            return request

        self._session.auth = authorize

    def conceal(self, secret: str) -> None:
        """Never print this, not even if Okta repeats it in an error."""
        self._secrets.add(secret)

    def harmless(self, text: str) -> str:
        """A text for the terminal, without secrets and control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "••••")
        return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """The object that comes back; an empty one for a 204."""
        return _json(self._send(method, path, body), dict)

    def organization(self) -> Json:
        """The org that answers at this address. It is asked for without credentials."""
        return _json(self._send("GET", ORGANIZATION, auth=lambda request: request), dict)

    def objects(self, path: str) -> list[Json]:
        """All objects of a collection, from all of its pages. Kept until something is changed."""
        if path in self._lists:
            return self._lists[path]
        response = self._send("GET", path)
        items: list[Json] = _json(response, list)
        while "next" in response.links:
            url = urljoin(response.url, response.links["next"]["url"])
            if urlsplit(url)[:2] != urlsplit(self.org)[:2]:
                raise OktaError(
                    f"Okta's list of {path} continues on another host, so it was not read"
                )
            response = self._send("GET", url)
            items += _json(response, list)
        self._lists[path] = items
        return items

    def _send(
        self, method: str, path: str, body: Json | None = None, **options: Any
    ) -> requests.Response:
        if method != "GET":
            self._lists.clear()
        url = urljoin(self.org, path)
        options |= {"timeout": TIMEOUT, "allow_redirects": False}
        attempt = 0
        while True:
            # No answer at all is treated like a failure of Okta.
            status = 500
            try:
                response = self._session.request(method, url, json=body, **options)
                status = response.status_code
                if 200 <= status < 300:
                    return response
                problem = _refusal(response)
            except (requests.RequestException, HTTPError) as error:
                problem = NoAnswer(
                    f"No answer from {self.org} to {method} {urlsplit(url).path} "
                    f"({type(error).__name__}). Is OKTA_ISSUER right, and is Okta reachable?"
                )
            if attempt >= REPEATS.get(status, 0) or (status == 500 and method == "POST"):
                raise problem
            pause = PAUSES.get(status) or _until_reset(response)
            if pause > 2:
                say(f"Okta's rate limit was reached: continuing in {pause:.0f} s")
            sleep(pause)
            attempt += 1


def _json(response: requests.Response, kind: type) -> Any:
    """The body, which must be of this type. Raises OktaError."""
    if response.status_code == 204:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, kind):
        raise _refusal(response)
    return answer


def _refusal(response: requests.Response) -> OktaError:
    """What Okta says, and what to do about it."""
    status, path = response.status_code, urlsplit(response.url).path
    request = f"{response.request.method} {path}"
    try:
        body = response.json()
        code = body["errorCode"]
        causes = [cause["errorSummary"] for cause in body.get("errorCauses") or []]
    except (ValueError, TypeError, KeyError):
        return OktaError(
            f"The answer to {request} with status {status} is not one of Okta's. Is OKTA_ISSUER at "
            "the address of the org itself, or does a proxy answer in its place?",
            status,
        )
    lines = [f"Okta answered {request} with {status} {code}:", body.get("errorSummary"), *causes]
    lines.append(f"errorId {body.get('errorId')}, for Okta's support")
    kind = path.removeprefix(f"{API}/").partition("/")[0]
    if code == "E0000006" and kind in RIGHTS:
        permission, scope = RIGHTS[kind]
        lines.append(f"Needed: Super Administrator, or a custom role with {permission}.")
        lines.append(f"With an OAuth 2.0 access token, the scope {scope} as well.")
    lines += ADVICE.get(code, ())
    return OktaError("\n  ".join(map(str, lines)), status)


def _until_reset(response: requests.Response) -> float:
    """Seconds until the rate limit is reset, by Okta's clock."""
    try:
        date = parsedate_to_datetime(response.headers["Date"]).timestamp()
        seconds = int(response.headers["X-Rate-Limit-Reset"]) - date + 1
    except (KeyError, ValueError):
        seconds = LONGEST_PAUSE
    return min(max(seconds, 1.0), LONGEST_PAUSE)
