"""One operation of a JSON Patch (RFC 6902) that Okta supports: add, replace or remove."""

from typing import Any


class CannotApply(Exception):
    """The operation does not fit the document; `str()` says why."""


def steps_of(path: str) -> list[str]:
    """The reference tokens of a JSON Pointer (RFC 6901, section 4)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def apply(op: str, steps: list[str], value: Any, document: Any) -> None:
    """Change `document` in place. Raises CannotApply."""
    *parents, last = steps
    container = document
    for depth, step in enumerate(parents):
        container = _member(container, step, "/".join(steps[: depth + 1]))
    if isinstance(container, list):
        _change_list(op, last, value, container)
    elif isinstance(container, dict):
        _change_object(op, last, value, container)
    else:
        raise CannotApply(f"{'/'.join(parents)} is neither an object nor an array")


def _member(container: Any, step: str, path: str) -> Any:
    if isinstance(container, dict) and step in container:
        return container[step]
    if isinstance(container, list) and (index := _index(step)) is not None:
        if index < len(container):
            return container[index]
        raise CannotApply(f"{path} is beyond the end of its array")
    raise CannotApply(f"{path} does not exist")


def _change_object(op: str, name: str, value: Any, container: dict) -> None:
    if op != "add" and name not in container:
        raise CannotApply(f"{name} cannot be {op}d, since it does not exist")
    if op == "remove":
        del container[name]
    else:
        container[name] = value


def _change_list(op: str, step: str, value: Any, container: list) -> None:
    index = len(container) if (op, step) == ("add", "-") else _index(step)
    last = len(container) if op == "add" else len(container) - 1
    if index is None or index > last:
        raise CannotApply(
            f"{step} is not an index of the array, which has {len(container)} elements"
        )
    if op == "add":
        container.insert(index, value)
    elif op == "replace":
        container[index] = value
    else:
        del container[index]


def _index(step: str) -> int | None:
    """An array index as RFC 6901 writes it: ASCII digits without a leading zero."""
    is_number = step.isascii() and step.isdigit() and (step == "0" or step[0] != "0")
    return int(step) if is_number and len(step) < 10 else None
