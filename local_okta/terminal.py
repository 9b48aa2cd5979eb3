"""How the commands and the demo look: one table, colours where a terminal shows them."""

import contextlib
import os
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterator

import click

# With fewer columns, what came back is printed on lines of its own.
WIDE = 106
_COLUMNS = "{:<33} {:<16} {:<7}{:>5}"
_LAST_COLUMN_AT = 65
_INDENT = " " * 5
_IN_ASCII = str.maketrans({"…": "...", "•": "*", "“": '"', "”": '"'})
SECONDS_BEFORE_NOTE = 1.0


def say(text: str = "", *, nl: bool = True, **style) -> None:
    """Print a line, styled unless it goes into a file or NO_COLOR is set.

    Control characters, and those that the terminal cannot show, are printed as escapes.
    """
    text = _writable("".join(map(_visible, text)))
    wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(
        click.style(text, **style) if any(style.values()) else text, nl=nl, color=wants_colour
    )


def heading() -> None:
    """Print the names of the columns, except on a narrow terminal."""
    if not _is_narrow():
        say(_row("request", "authentication", "status", "ms", "what came back"), bold=True)


def row(request: str, authentication: str, answer, outcome: str, *, good: bool) -> None:
    """Print one request, with `outcome` in words, in red if it is not `good`."""
    status, style = str(answer.status or "-"), {"fg": None if good else "red"}
    if not _is_narrow():
        say(_row(request, authentication, status, answer.milliseconds, outcome), **style)
        return
    columns = shutil.get_terminal_size().columns
    first = f"{status:<5}{request}, {authentication}, {answer.milliseconds} ms"
    say(textwrap.fill(first, columns, subsequent_indent=_INDENT), **style)
    say(textwrap.fill(outcome, columns, initial_indent=_INDENT, subsequent_indent=_INDENT), **style)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on stderr what this waits for, if it takes longer than a moment."""
    timer = threading.Timer(SECONDS_BEFORE_NOTE, click.echo, (f"Waiting for {what} ...",))
    timer.kwargs["err"] = True
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_narrow() -> bool:
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE


def _row(request, authentication, status, milliseconds, outcome) -> str:
    line = _COLUMNS.format(request, authentication, status, milliseconds)
    if not sys.stdout.isatty():
        return f"{line}  {outcome}"
    folded = textwrap.fill(outcome, shutil.get_terminal_size().columns - _LAST_COLUMN_AT)
    return f"{line}  " + folded.replace("\n", f"\n{'':<{_LAST_COLUMN_AT}}")


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode()


def _writable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_IN_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text
