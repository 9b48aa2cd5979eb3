"""HTTP Basic (RFC 7617): the fixed user and password that Okta sends with a hook."""

import hmac
import re
import secrets
from hashlib import sha256

from flask import g, request
from flask_httpauth import HTTPBasicAuth
from werkzeug.datastructures import Authorization

from settings import Settings

from .caller import REALM, Caller, Refusal

BASIC_CHALLENGE = f'Basic realm="{REALM}", charset="UTF-8"'
# One scheme and one Base64 text. Flask-HTTPAuth would also treat any other scheme as Basic, and its
# Base64 decoder skips characters such as the comma between two headers joined into one.
_CREDENTIALS = re.compile(r"basic +[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)


class HookBasicAuth(HTTPBasicAuth):
    """Admits one user, with the current or the previous password. Admits no one if none is set."""

    def __init__(self, settings: Settings):
        super().__init__(realm=REALM)
        self.has_pair = settings.basic_auth_password is not None
        self._user = _digest(settings.basic_auth_user)
        self._current = _digest(settings.basic_auth_password)
        self._previous = _digest(settings.basic_auth_password_previous)
        self._with_current = Caller("basic", settings.basic_auth_user, "current")
        self._with_previous = Caller("basic", settings.basic_auth_user, "previous")
        self.verify_password(self._matching_caller)

    def check(self, challenge: str = BASIC_CHALLENGE) -> Caller:
        """The caller whose user and password the request has. Raises Refusal."""
        g.auth_method = "basic"
        # Not `login_required`, which lets every OPTIONS request pass.
        caller: Caller | None = self.authenticate(self.get_auth(), None)
        if caller is None:
            raise Refusal(401, self._reason_of_refusal(), {"WWW-Authenticate": challenge})
        return caller

    def get_auth(self) -> Authorization | None:
        header = request.headers.get("Authorization", "")
        return super().get_auth() if _CREDENTIALS.fullmatch(header) else None

    def _matching_caller(self, user: str, password: str) -> Caller | None:
        # Always make all three comparisons, each in constant time. The time that a refusal takes
        # then shows neither which part was wrong nor how much of it was right.
        user_matches = hmac.compare_digest(_digest(user), self._user)
        digest = _digest(password)
        matches = hmac.compare_digest(digest, self._current)
        previous_matches = hmac.compare_digest(digest, self._previous)
        if not user_matches & (matches | previous_matches):
            return None
        return self._with_current if matches else self._with_previous

    def _reason_of_refusal(self) -> str:
        if not self.has_pair:
            return "event_hooks_off"
        if "Authorization" not in request.headers:
            return "no_credentials"
        return "not_basic" if self.get_auth() is None else "wrong_credentials"


def _digest(text: str | None) -> bytes:
    """A digest of the UTF-8 bytes, of the same length for every text. For None, a random one."""
    return secrets.token_bytes(32) if text is None else sha256(text.encode()).digest()
