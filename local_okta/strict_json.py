"""JSON as RFC 8259 defines it, without what only Python's parser accepts."""

import json
import math
from typing import Any

# Far more than any request or answer of a hook has, far less than what crashes a parser.
MOST_LEVELS = 100


def parse(text: str | bytes) -> Any:
    """The value that `text` stands for.

    Raises `json.JSONDecodeError`, with the place, if the syntax is wrong. Raises ValueError for NaN
    and the infinities, for numbers that no float can hold, and for a value that is nested more than
    MOST_LEVELS deep.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        containers = [each for each in level if isinstance(each, (dict, list))]
        level = [
            member
            for each in containers
            for member in (each.values() if isinstance(each, dict) else each)
        ]
        if not containers:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
