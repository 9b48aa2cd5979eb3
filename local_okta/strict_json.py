"""JSON as RFC 8259 has it, without what Python's parser takes besides and other parsers refuse."""

import json
import math
from typing import Any

# Far beyond any request or answer of a hook, far below what ends a parser or a browser.
MOST_LEVELS = 100


def parse(text: str | bytes) -> Any:
    """The value that `text` stands for.

    Raises ValueError: a `json.JSONDecodeError`, which knows the place, where the syntax is wrong;
    else for NaN and the infinities, for numbers that no float can hold, and for a value that is
    nested more than MOST_LEVELS deep.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value of JSON")


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
