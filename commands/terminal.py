"""How the commands print."""

import os
import sys
from typing import Any

import click


def say(text: str = "", *, nl: bool = True, **style: Any) -> None:
    """Print to stdout; styled, unless that is a file or NO_COLOR is set."""
    wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, **style) if style else text, nl=nl, color=wants_colour)
