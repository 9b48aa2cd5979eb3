"""How the commands and the demo look: one table, colours where a terminal shows them."""

import os
import shutil
import sys
import textwrap

import click

# Where the last column begins, and how narrow it may get.
_MARGIN = 66
_NARROWEST = 40


def say(text: str = "", **style) -> None:
    """A line on stdout, styled unless it goes into a file or NO_COLOR is set."""
    wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, **style) if style else text, color=wants_colour)


def heading() -> None:
    say(_line("hook", "authentication", "status", "ms", "what came back"), bold=True)


def row(hook: str, authentication: str, answer, outcome: str, *, good: bool) -> None:
    """One call: `outcome` in words, the status green or red by `good`."""
    status = click.style(f"{answer.status or '-':<6}", fg="green" if good else "red")
    if sys.stdout.isatty():
        width = max(_NARROWEST, shutil.get_terminal_size().columns - _MARGIN)
        outcome = textwrap.fill(outcome, width).replace("\n", f"\n{'':<{_MARGIN}}")
    say(_line(hook, authentication, status, answer.milliseconds, outcome))


def _line(hook, authentication, status, milliseconds, outcome) -> str:
    return f"{hook:<32}  {authentication:<16}  {status:<6}  {milliseconds:>4}  {outcome}"
