"""What the command prints: one aligned line for each step."""

from typing import Any

import click

from commands.terminal import say

from .client import Okta
from .plan import AS_IT_SHOULD_BE, BY_HAND, IN_THE_WAY, LEFT, Step

COLOURS = {"create": "green", "remove": "red", IN_THE_WAY: "red", BY_HAND: None, LEFT: None}
WIDTHS = (10, 20)


class Screen:
    """Prints nothing that is secret to `okta`, and nothing that steers a terminal."""

    def __init__(self, okta: Okta):
        self._okta = okta

    def say(self, text: str = "", **style: Any) -> None:
        for line in text.split("\n"):
            say(self._okta.harmless(line), **style)

    def line(self, action: str, colour: str | None, what: str, detail: str) -> None:
        first, *more = (self._okta.harmless(line) for line in detail.split("\n"))
        action = click.style(f"{action:<{WIDTHS[0]}}", fg=colour)
        say(f"  {action}  {what:<{WIDTHS[1]}}  {first}")
        for line in more:
            say(f"{'':<{sum(WIDTHS) + 6}}{line.strip()}")

    def plan(self, steps: list[Step]) -> None:
        self.say()
        for step in steps:
            if step.action != AS_IT_SHOULD_BE:
                colour = COLOURS.get(step.action, "yellow")
                self.line(step.action, colour, step.resource.what, step.detail)
        good = sum(step.action == AS_IT_SHOULD_BE for step in steps)
        if good:
            count = f"{good} others" if good < len(steps) else f"all {good}"
            width = sum(WIDTHS) + 2
            self.say(f"  {AS_IT_SHOULD_BE:<{width}}  {count}, as far as Okta shows it")
        self.say()
