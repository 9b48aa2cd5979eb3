"""What is in `.env`, and what is wrong with it."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from dotenv import find_dotenv
from dotenv.parser import Binding, parse_stream
from flask.helpers import get_load_dotenv


def read_dotenv(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Read an `.env` file. Returns its texts, and what is wrong with it, by name.

    A file that does not exist is empty. The name of one that cannot be read is `.env`.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        return {}, {".env": _why_unreadable(error)}
    texts: dict[str, str] = {}
    problems: dict[str, str] = {}
    for binding in bindings:
        if binding.error or (binding.key and binding.value is None):
            # Do not skip it: it could be the line that limits who may send requests.
            problems[f".env, line {_line(binding)}"] = (
                "is not NAME=value (quotes, if any, go around the whole value)"
            )
        elif binding.key:
            if problem := _problem(binding, texts):
                problems[binding.key] = problem
            texts[binding.key] = binding.value or ""
    return texts, problems


def notes_on_other_files(project: Path) -> Iterator[str]:
    """Notes on the files of other folders that `flask` has loaded into the environment.

    It loads the nearest ones, searching from the current folder upwards.
    """
    for name in (".env", ".flaskenv") if get_load_dotenv() else ():
        file = find_dotenv(name, usecwd=True)
        if file and Path(file).parent.resolve() != project.resolve():
            yield (
                f"flask has read {file}, which is in another folder: its values take precedence "
                "over .env"
            )


def _why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not text in UTF-8 (see byte {error.start + 1}): save it as UTF-8"
    if isinstance(error, IsADirectoryError):
        return "is a folder: Docker creates one if the file to be mounted does not exist"
    return f"cannot be read by the user that runs the service: {error.strerror}"


def _line(binding: Binding) -> int:
    """The number of a line. The parser counts from the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _problem(binding: Binding, earlier: Collection[str]) -> str | None:
    """Why a line may not mean what its author intended."""
    if "${" in (binding.value or ""):
        return "has ${…} in .env, where variables are not replaced: write out the value"
    if re.match(r"[^=]*=\s*[^\s'\"].*\s#", binding.original.string):
        return (
            'has " #" in .env, which cuts off the rest: put a value with a # into single quotes, '
            "and a comment on a line of its own"
        )
    if binding.key in earlier:
        return "is set twice in .env: remove one of the two lines"
    return None
