"""Password import inline hook: checks the password of a user's first sign-in in the old system.

Reads    data.context.credential.username and .password
Answers  com.okta.action.update VERIFIED, after which Okta keeps the password, or UNVERIFIED
Guide    https://developer.okta.com/docs/guides/password-import-inline-hook/
"""

from flask import Response
from werkzeug.security import check_password_hash

from .contract import HookBlueprint, Payload, answer, command
from .sample_data import DECOY_HASH, password_hash_of

bp = HookBlueprint(
    "password_import",
    __name__,
    kind="inline",
    event_type="com.okta.user.credential.password.import",
)


@bp.post("/passwordImport")
def import_password() -> Response:
    payload = Payload.current()
    username = payload.text("data.context.credential.username")
    password = payload.text("data.context.credential.password")
    credential = "VERIFIED" if is_right(username, password) else "UNVERIFIED"
    return answer(command("com.okta.action.update", {"credential": credential}))


def is_right(username: str, password: str) -> bool:
    """The rule. It checks a decoy for an unknown user, so that both cases take the same time."""
    password_hash = password_hash_of(username)
    matches = check_password_hash(password_hash or DECOY_HASH, password)
    # HMAC, inside PBKDF2, pads a key with zeros: it cannot tell "secret" from "secret\0".
    return matches and password_hash is not None and "\0" not in password
