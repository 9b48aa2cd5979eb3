"""How the commands and the demo look: one table, colours where a terminal shows them."""

import os
import shutil
import sys
import textwrap

import click

# Below this many columns the last one gets a line of its own.
WIDE = 106
_COLUMNS = "{:<33} {:<16} {:<7}{:>5}"
_LAST_COLUMN_AT = 65


def say(text: str = "", **style) -> None:
    """A line on stdout, styled unless it goes into a file or NO_COLOR is set."""
    wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, **style) if any(style.values()) else text, color=wants_colour)


def heading() -> None:
    say(_row("request", "authentication", "status", "ms", "what came back"), bold=True)


def row(request: str, authentication: str, answer, outcome: str, *, good: bool) -> None:
    """One request: `outcome` in words, in red where it is not `good`."""
    status = str(answer.status or "-")
    line = _row(request, authentication, status, answer.milliseconds, outcome)
    say(line, fg=None if good else "red")


def _row(request, authentication, status, milliseconds, outcome) -> str:
    line = _COLUMNS.format(request, authentication, status, milliseconds)
    columns = shutil.get_terminal_size().columns
    if not sys.stdout.isatty():
        return f"{line}  {outcome}"
    if columns >= WIDE:
        folded = textwrap.fill(outcome, columns - _LAST_COLUMN_AT)
        return f"{line}  " + folded.replace("\n", f"\n{'':<{_LAST_COLUMN_AT}}")
    indented = textwrap.fill(outcome, columns, initial_indent="    ", subsequent_indent="    ")
    return f"{line}\n{indented}"
