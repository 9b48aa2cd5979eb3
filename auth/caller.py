"""The result of checking a request's credentials: a caller or a refusal."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from werkzeug.exceptions import HTTPException

REALM = "okta-hooks"


class Caller(NamedTuple):
    """The sender of a request that passed the guard. It is in `flask.g.caller`.

    `method` and `scopes` are for rules of your own.
    """

    method: Literal["basic", "oauth"]
    user: str | None = None
    matched_password: Literal["current", "previous"] | None = None
    client_id: str | None = None
    scopes: frozenset[str] = frozenset()


class Refusal(HTTPException):
    """Raised for a request that must not pass.

    The answer has only `code` and `headers`. The `reason` is only for the log.
    """

    def __init__(self, code: int, reason: str, headers: Mapping[str, str]):
        super().__init__()
        self.code, self.reason, self.headers = code, reason, headers

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), *self.headers.items()]
