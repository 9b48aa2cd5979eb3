"""HTTP Basic (RFC 7617): the fixed user and password that Okta sends with a hook."""

import hmac
import re
import secrets
from hashlib import sha256
from typing import Literal

from flask import request
from flask_httpauth import HTTPBasicAuth

from settings import Settings

# One scheme and one Base64 text. Flask-HTTPAuth alone would take any scheme for Basic, and its
# Base64 decoder skips characters such as the comma between two headers joined into one.
_CREDENTIALS = re.compile(r"basic +[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)


class HookBasicAuth(HTTPBasicAuth):
    """Admits one pair, and the same user's previous password; without a password nobody."""

    def __init__(self, realm: str, settings: Settings):
        super().__init__(realm=realm)
        self.has_pair = settings.basic_auth_password is not None
        self._user = _digest(settings.basic_auth_user)
        self._password = _digest(settings.basic_auth_password)
        self._previous = _digest(settings.basic_auth_password_previous)
        self.verify_password(self._password_that_matches)

    def get_auth(self):
        header = request.headers.get("Authorization", "")
        return super().get_auth() if _CREDENTIALS.fullmatch(header) else None

    def password_of_request(self) -> Literal["current", "previous"] | None:
        """Which password the request brings with the right user; None for any other pair."""
        # Not `login_required`, which lets every OPTIONS request through.
        return self.authenticate(self.get_auth(), None)

    def reason_of_refusal(self) -> str:
        """Why the request brings no valid pair, in a word for the log."""
        if not self.has_pair:
            return "event_hooks_off"
        if "Authorization" not in request.headers:
            return "no_credentials"
        return "not_basic" if self.get_auth() is None else "wrong_credentials"

    def _password_that_matches(self, user: str, password: str) -> str | None:
        # All three comparisons are always made, each in constant time: how long a refusal takes
        # tells neither which part was wrong nor how much of it was right.
        user_matches = hmac.compare_digest(_digest(user), self._user)
        digest = _digest(password)
        matches = hmac.compare_digest(digest, self._password)
        previous_matches = hmac.compare_digest(digest, self._previous)
        if not user_matches & (matches | previous_matches):
            return None
        return "current" if matches else "previous"


def _digest(text: str | None) -> bytes:
    """A digest of the UTF-8 bytes, equally long for every text; for None a random one."""
    return secrets.token_bytes(32) if text is None else sha256(text.encode()).digest()
