"""A request that you wrote, or took from a log: its path, its body, and how to judge it."""

import json
from typing import Any
from urllib.parse import quote

from local_okta.strict_json import parse

# The kind of hook that Okta means by an `eventType`, in the judge's words.
EVENT_TYPES = {
    "com.okta.event_hook": "event",
    "com.okta.user.pre-registration": "registration",
    "com.okta.oauth2.tokens.transform": "token",
    "com.okta.saml.tokens.transform": "saml",
    "com.okta.user.credential.password.import": "password-import",
    "com.okta.telephony.provider": "telephony",
    "com.okta.import.transform": "user-import",
}
KEPT_IN_PATHS = "/?%:@!$&'()*+,;=~"


class NotARequest(ValueError):
    """Okta could not send this; `str()` says why. `position` is where, in characters, if known."""

    def __init__(self, message: str, position: int | None = None):
        super().__init__(message)
        self.position = position


def payload_of(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises NotARequest."""
    try:
        payload = parse(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise NotARequest(f"This is not JSON: {where}: {error.msg}.", error.pos) from None
    except UnicodeDecodeError:
        raise NotARequest("This is not JSON, since it is not UTF-8.") from None
    except ValueError as error:
        raise NotARequest(f"This cannot be sent as JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise NotARequest("Okta sends a JSON object: it starts with { and ends with }.")
    return payload


def path_of(text: str) -> str:
    """The path as it is sent, with its query. Raises NotARequest."""
    if not text.startswith("/"):
        raise NotARequest(f"“{text}” is not a path such as /myHook")
    try:
        return quote(text, safe=KEPT_IN_PATHS)
    except UnicodeError:
        raise NotARequest("This path has a character that cannot be encoded in UTF-8.") from None


def kind_of(payload: dict[str, Any], otherwise: str | None) -> str | None:
    """The kind of hook that `eventType` names, if it is one that the judge knows."""
    event_type = payload.get("eventType")
    return EVENT_TYPES.get(event_type, otherwise) if isinstance(event_type, str) else otherwise
