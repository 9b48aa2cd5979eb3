"""How the commands print."""

import os
import sys
from typing import Any

import click

MARKS = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "wrong": ("WRONG", "red")}


def say(text: str = "", *, nl: bool = True, **style: Any) -> None:
    """Print to stdout. Styled, unless stdout is not a terminal or NO_COLOR is set."""
    wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, **style) if style else text, nl=nl, color=wants_colour)


class Report:
    """Prints one line per finding, and counts what is wrong."""

    def __init__(self) -> None:
        self.wrong = 0

    def line(self, outcome: str, what: str, detail: str) -> None:
        mark, colour = MARKS[outcome]
        say(f"  {mark}", nl=False, fg=colour)
        say(f"  {what:<20} {detail}")
        self.wrong += outcome == "wrong"
