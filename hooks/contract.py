"""The contract with Okta: how to read a request and write an answer.

A request that cannot be read gets an HTTP error whose `error` object names the field. A business
"no" is a 200 with a command or an `error` object: Okta shows it at the field that it names.

Guide    https://developer.okta.com/docs/concepts/inline-hooks/
"""

import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

ANSWER_LIMIT = 256_000
"""An answer must have fewer bytes than this, or Okta does not accept it."""

NO_CHANGE = ("", 204)
"""The answer of an inline hook that leaves everything as it is."""

log = logging.getLogger(__name__)

# Payload has a method named list.
Items = list[Any]

_ABSENT = object()
_SURROGATE = re.compile("[\ud800-\udfff]")


class HookBlueprint(Blueprint):
    """A blueprint with the kind of hook that it serves. Okta authenticates the two differently.

    `event_type` is the `eventType` that Okta sends with an inline hook of this kind.
    """

    def __init__(
        self,
        name: str,
        import_name: str,
        *,
        kind: Literal["event", "inline"],
        event_type: str | None = None,
    ):
        super().__init__(name, import_name)
        if kind not in ("event", "inline"):
            raise ValueError(f"the kind of the hook {name} must be event or inline, not {kind!r}")
        self.kind = kind
        self.event_type = "com.okta.event_hook" if kind == "event" else event_type


class UnreadableRequest(BadRequest):
    """400: the request is not what Okta sends. `causes` are the `errorCauses` of the answer."""

    def __init__(self, summary: str, causes: Iterable[dict[str, str]] = ()):
        super().__init__(summary)
        self.causes = list(causes)


class Payload:
    """A request's body, read by dotted path: `payload.text("data.userProfile.email")`.

    Each reader raises `UnreadableRequest` for a field that is missing or of another type. With
    `optional=True`, a field that is absent or null is None, and so is one inside a null.
    """

    def __init__(self, body: dict[str, Any]):
        self.body = body

    @classmethod
    def current(cls) -> "Payload":
        """The payload of the current request. Raises a 400, 413 or 415 if it cannot be read."""
        return cls(_body_of_request())

    @overload
    def text(self, path: str) -> str: ...
    @overload
    def text(self, path: str, *, optional: bool) -> str | None: ...
    def text(self, path: str, *, optional: bool = False) -> str | None:
        return self._read(path, optional, is_text, "a string")

    @overload
    def text_or_number(self, path: str) -> str: ...
    @overload
    def text_or_number(self, path: str, *, optional: bool) -> str | None: ...
    def text_or_number(self, path: str, *, optional: bool = False) -> str | None:
        """The text of a field that is a string in one org and a number in another."""
        value = self._read(path, optional, _is_text_or_number, "a string or a number")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return None if value is None else str(value)

    def first_text(self, *paths: str) -> tuple[str, str]:
        """Path and text of the first field present. If there is none, the error names the first."""
        for path in paths:
            value = self.text(path, optional=True)
            if value is not None:
                return path, value
        raise _missing(paths[0])

    @overload
    def object(self, path: str) -> dict[str, Any]: ...
    @overload
    def object(self, path: str, *, optional: bool) -> dict[str, Any] | None: ...
    def object(self, path: str, *, optional: bool = False) -> dict[str, Any] | None:
        return self._read(path, optional, lambda value: isinstance(value, dict), "an object")

    @overload
    def list(self, path: str) -> Items: ...
    @overload
    def list(self, path: str, *, optional: bool) -> Items | None: ...
    def list(self, path: str, *, optional: bool = False) -> Items | None:
        return self._read(path, optional, lambda value: isinstance(value, list), "a list")

    def _read(self, path: str, optional: bool, fits: Callable[[Any], bool], expected: str) -> Any:
        value = self._find(path, optional)
        if optional and (value is _ABSENT or value is None):
            return None
        if value is _ABSENT:
            raise _missing(path)
        if not fits(value):
            raise _wrong_type(path, expected)
        return value

    def _find(self, path: str, optional: bool) -> Any:
        value, names = self.body, path.split(".")
        for depth, name in enumerate(names):
            if value is None and optional:
                return _ABSENT
            if not isinstance(value, dict):
                raise _wrong_type(".".join(names[:depth]), "an object")
            if name not in value:
                return _ABSENT
            value = value[name]
        return value


def is_text(value: Any) -> bool:
    """True for a string that can be encoded in UTF-8. JSON may contain half a surrogate pair."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def command(kind: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "value": value}


def add_claim(name: str, value: Any) -> dict[str, Any]:
    """A patch operation. The path is a JSON Pointer (RFC 6901, section 3)."""
    escaped = name.replace("~", "~0").replace("/", "~1")
    return {"op": "add", "path": f"/claims/{escaped}", "value": value}


def error(summary: str, *causes: dict[str, str]) -> dict[str, Any]:
    return {"errorSummary": summary, "errorCauses": list(causes)}


def cause(
    summary: str,
    reason: str,
    location: str,
    *,
    domain: str = "hook-request",
    location_type: str = "body",
) -> dict[str, str]:
    """One cause of an error: `reason` is for programs, `location` is the path of the field."""
    return {
        "errorSummary": summary,
        "reason": reason,
        "locationType": location_type,
        "location": location,
        "domain": domain,
    }


def answer(*commands: dict[str, Any], error: dict[str, Any] | None = None) -> Response:
    """The 200 of an inline hook. Okta executes no commands if there is an error."""
    body: dict[str, Any] = {}
    if commands:
        body["commands"] = commands
    if error:
        body["error"] = error
    response = jsonify(body)
    size = len(response.get_data())
    if size >= ANSWER_LIMIT:
        log.error("answer too large", extra={"fields": {"bytes": size, "limit": ANSWER_LIMIT}})
        return error_response(500, "The answer is larger than Okta accepts")
    return response


def error_response(status: int, summary: str, causes: Iterable[dict[str, str]] = ()) -> Response:
    """An HTTP error with an `error` object as its body."""
    response = jsonify(error=error(summary, *causes))
    response.status_code = status
    return response


def _body_of_request() -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The content type must be application/json")
    data = _all_data()
    try:
        body = _STRICT_JSON.decode(data.decode())
    except (ValueError, RecursionError):
        # Not UTF-8, not JSON, a number of thousands of digits, or nested too deep.
        raise UnreadableRequest("The body cannot be read as JSON") from None
    if not isinstance(body, dict):
        raise UnreadableRequest("The body is not a JSON object")
    event_id = body.get("eventId")
    g.event_id = event_id if is_text(event_id) else None
    _warn_of_another_kind(body.get("eventType"))
    return body


def _warn_of_another_kind(event_type: Any) -> None:
    """Log a URL pasted into the wrong hook. It often answers 204, which looks like success."""
    blueprint = current_app.blueprints.get(request.blueprint or "")
    expected = getattr(blueprint, "event_type", None)
    if expected and is_text(event_type) and event_type != expected:
        fields = {"path": request.path, "event_type": event_type, "expected": expected}
        log.warning("request for another kind of hook", extra={"fields": fields})


def _all_data() -> bytes:
    """The body. Raises a 413 if it is too large and a 400 if it is incomplete."""
    try:
        data = request.get_data()
        if "HTTP_TRANSFER_ENCODING" in request.environ:
            # Werkzeug reads the first MAX_CONTENT_LENGTH bytes of a chunked body. It only checks
            # for more on the next read.
            request.stream.read(1)
        return data
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge("The body is larger than MAX_CONTENT_LENGTH") from None
    except Exception:
        # Each server has its own exception for a chunk that it cannot read. Werkzeug's, for a body
        # that is cut short, is a 400 that speaks of a browser.
        raise UnreadableRequest("The body is incomplete") from None


def _refuse_constant(name: str) -> None:
    # json.loads accepts NaN and Infinity, which are not JSON (RFC 8259, section 6).
    raise ValueError(name)


# Created once, since json.loads would create a decoder for every request.
_STRICT_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_text_or_number(value: Any) -> bool:
    # In Python a boolean is an int, and the JSON number 1e999 is infinite.
    if isinstance(value, float):
        return math.isfinite(value)
    return is_text(value) or (isinstance(value, int) and not isinstance(value, bool))


def _missing(path: str) -> UnreadableRequest:
    summary = f"{path} is missing"
    return UnreadableRequest(summary, [cause(summary, "MISSING_FIELD", path)])


def _wrong_type(path: str, expected: str) -> UnreadableRequest:
    summary = f"{path} must be {expected}"
    return UnreadableRequest(summary, [cause(summary, "WRONG_TYPE", path)])
