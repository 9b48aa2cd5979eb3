"""What is in `.env`, and what is wrong with it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import find_dotenv
from dotenv.parser import Binding, parse_stream
from flask.helpers import get_load_dotenv


@dataclass
class Dotenv:
    """The texts and problems of an `.env` file, by name."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    is_readable: bool = True
    """If not, it may hold settings that seem to be missing."""


def read_dotenv(path: Path) -> Dotenv:
    """Read an `.env` file. One that does not exist is empty."""
    dotenv = Dotenv()
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return dotenv
    except (OSError, UnicodeDecodeError) as error:
        return Dotenv(problems={".env": _why_unreadable(error)}, is_readable=False)
    for binding in bindings:
        text = binding.original.string
        if binding.error or (binding.key and binding.value is None):
            # Do not skip it: it could be the line that limits who may send requests.
            before = text[: len(text) - len(text.lstrip())]
            line = binding.original.line + before.count("\n")
            dotenv.problems[f".env, line {line}"] = (
                "is not NAME=value (quotes, if any, go around the whole value)"
            )
        elif binding.key:
            if problem := _problem(binding, dotenv.texts):
                dotenv.problems[binding.key] = problem
            dotenv.texts[binding.key] = binding.value or ""
    return dotenv


def files_of_other_folders(project: Path) -> list[Path]:
    """The files outside the project's folder that `flask` has loaded into the environment.

    It loads the nearest ones, searching from the current folder upwards.
    """
    if not get_load_dotenv():
        return []
    nearest = (find_dotenv(name, usecwd=True) for name in (".env", ".flaskenv"))
    files = [Path(name) for name in nearest if name]
    return [file for file in files if file.parent.resolve() != project.resolve()]


def _why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not text in UTF-8 (see byte {error.start + 1}): save it as UTF-8"
    if isinstance(error, IsADirectoryError):
        return (
            "is a folder, but must be a file (Docker makes a folder where a file that should be "
            "mounted does not exist)"
        )
    if isinstance(error, PermissionError):
        return (
            "exists, but the user that runs the service may not read it: make that user its owner, "
            "with mode 400"
        )
    return f"cannot be read: {error.strerror}"


def _problem(binding: Binding, earlier: dict[str, str]) -> str | None:
    """Why a line may not mean what its author intended."""
    name, value = binding.key or "", binding.value or ""
    if "${" in value:
        return "has ${…} in .env, where variables are not replaced: write out the value"
    if re.search(r"=\s*[^\s'\"].*\s#", binding.original.string):
        return (
            'has " #" in .env, which cuts off the rest: put a value with a # into single quotes, '
            "and a comment on a line of its own"
        )
    if name in ("user", "password"):
        return f"is not a setting: write it in capitals, {name.upper()}"
    if name in earlier:
        return "is set twice in .env: remove one of the two lines"
    return None
