"""HTTP Basic (RFC 7617): the fixed user and password that Okta sends with a hook."""

import hmac
import re
import secrets
from hashlib import sha256

from flask import request
from flask_httpauth import HTTPBasicAuth

# One scheme, one Base64 text. Flask-HTTPAuth reads any scheme as Basic and lets Base64 decoding
# skip what does not belong there, such as the comma between two headers joined into one.
_CREDENTIALS = re.compile(r"basic +[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)


class HookBasicAuth(HTTPBasicAuth):
    """Admits one pair, and beside it the same user's previous password while Okta is switched over.

    Without a password it admits nobody.
    """

    def __init__(
        self,
        realm: str,
        user: str | None = None,
        password: str | None = None,
        previous_password: str | None = None,
    ):
        super().__init__(realm=realm)
        self._has_pair = password is not None
        self._user = _digest(user)
        self._password = _digest(password)
        self._previous_password = _digest(previous_password)
        self.verify_password(self._verify)

    def get_auth(self):
        header = request.headers.get("Authorization", "")
        return super().get_auth() if _CREDENTIALS.fullmatch(header) else None

    def current_call_user(self) -> str | None:
        """The user whose pair the current call brings, or None where it brings no valid one.

        `login_required` is not used: it lets every OPTIONS call through.
        """
        return self.authenticate(self.get_auth(), None)

    def reason_of_refusal(self) -> str:
        """Why the current call brings no valid pair, in a word for the log."""
        if not self._has_pair:
            return "event_hooks_off"
        if "Authorization" not in request.headers:
            return "no_credentials"
        return "not_basic" if self.get_auth() is None else "wrong_credentials"

    def _verify(self, user: str, password: str) -> str | None:
        # All three comparisons are always made, each in constant time, so that the time of a
        # refusal says neither which part was wrong nor how much of it was right.
        user_matches = hmac.compare_digest(_digest(user), self._user)
        digest = _digest(password)
        password_matches = hmac.compare_digest(digest, self._password)
        previous_matches = hmac.compare_digest(digest, self._previous_password)
        return user if user_matches & (password_matches | previous_matches) else None


def _digest(text: str | None) -> bytes:
    """A digest of the UTF-8 bytes: of equal length for all, and for None one that nothing has."""
    return secrets.token_bytes(32) if text is None else sha256(text.encode()).digest()
