"""Names that are not settings: misspelt ones, and those that belong in the environment."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Settings


def misspelt_names(
    names: Collection[str], known: Collection[str], set_names: Collection[str]
) -> dict[str, str]:
    """Names that are not settings, each with the setting that it may be meant for.

    A name does no harm if that setting is set.
    """
    misspelt = {}
    for name in sorted(set(names).difference(known)):
        close = get_close_matches(name.upper(), known, n=1, cutoff=0.85)
        if close and close[0] not in set_names:
            misspelt[name] = close[0]
    return misspelt


def problems(misspelt: Mapping[str, str], settings: "Settings") -> dict[str, str]:
    """The misspelt names that, if ignored, could let in more callers than intended."""
    oauth = settings.auth_mode == "oauth"
    guard = ("AUTH_", "BASIC_AUTH_", "OKTA_") if oauth else ("AUTH_", "BASIC_AUTH_")
    return {
        name: f"is not a setting: did you mean {meant}?"
        for name, meant in misspelt.items()
        if meant.startswith(guard)
    }


def notes(misspelt: Mapping[str, str], only_in_dotenv: Collection[str]) -> Iterator[str]:
    """Notes on names that are not settings and change nothing, but may have been meant to."""
    for name, meant in misspelt.items():
        yield f"{name} is not a setting of this service: did you mean {meant}?"
    # Show only what looks like a name. Anything else may be a line of a key.
    names = set(only_in_dotenv).difference(misspelt)
    shown = sorted(name for name in names if name.isidentifier() and len(name) <= 40)
    if shown:
        yield (
            f".env has names that are not settings of this service: {', '.join(shown)}. flask puts "
            "them into the environment, but gunicorn does not: set what a library needs there"
        )
