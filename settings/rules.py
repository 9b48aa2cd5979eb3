"""What settings require of one another, and notes for the person who starts the service."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from . import events
from .values import ISSUER_IN_OKTA

if TYPE_CHECKING:
    from . import Settings

UsedBy = Literal["server", "flask run", "flask command"]
"""`server` is gunicorn or another WSGI server; `flask run` is for development."""

SHORTEST_PASSWORD = 12


def problems(
    settings: "Settings", set_names: Collection[str], similar: Mapping[str, str], used_by: UsedBy
) -> dict[str, str]:
    """What is wrong with settings that are each valid."""
    return (
        _missing(settings)
        | _unusable(settings, used_by)
        | events.problems(settings, set_names, used_by)
        | _misspelt(similar, settings)
    )


def _missing(settings: "Settings") -> dict[str, str]:
    """Settings that others require, but that are not set."""
    oauth = settings.auth_mode == "oauth"
    user, password = settings.basic_auth_user, settings.basic_auth_password
    pair = "is not set or empty: choose one; the hook's Authentication secret holds the same pair"
    problems = {}
    if not user and (not oauth or password):
        problems["BASIC_AUTH_USER"] = pair
    if not password and (not oauth or user or settings.basic_auth_password_previous):
        problems["BASIC_AUTH_PASSWORD"] = pair
    if oauth and not settings.okta_issuer:
        problems["OKTA_ISSUER"] = f"is not set: take it from {ISSUER_IN_OKTA}"
    if oauth and not settings.okta_client_id and not settings.okta_scope:
        problems["OKTA_CLIENT_ID"] = (
            "is not set, and OKTA_SCOPE is not set or wrong: the hooks would accept any token that "
            "the server issues. Set at least one (Applications and Resources > Applications > "
            "your app > General > Client ID; Security > API > your server > Scopes)"
        )
    if settings.telephony_provider == "twilio":
        for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"):
            if not getattr(settings, name.lower()):
                problems[name] = "is not set: Twilio's console shows it"
        if find_spec("twilio") is None:
            needed = "pip install -r requirements/twilio.txt"
            problems["TELEPHONY_PROVIDER"] = f"is twilio, which needs: {needed}"
    return problems


def _unusable(settings: "Settings", used_by: UsedBy) -> dict[str, str]:
    """What is valid elsewhere, but cannot be used here."""
    problems = {}
    if used_by == "server":
        for name in settings.published_passwords:
            problems[name] = (
                "is the one printed in Okta's guide (admin:supersecret), which everybody knows. "
                "Choose another: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    return problems


def similar_names(
    names: Collection[str], known: Collection[str], set_names: Collection[str]
) -> dict[str, str]:
    """Names that are not settings, each with the setting that it may be meant for.

    A name does no harm if that setting is set.
    """
    similar = {}
    for name in sorted(set(names).difference(known)):
        in_capitals = name.upper().replace("-", "_")
        close = get_close_matches(in_capitals, known, n=1, cutoff=0.85)
        if close and close[0] not in set_names:
            similar[name] = close[0]
    return similar


def _misspelt(similar: Mapping[str, str], settings: "Settings") -> dict[str, str]:
    """The similar names that, if ignored, could let in more callers than intended."""
    oauth = settings.auth_mode == "oauth"
    guard = ("AUTH_", "BASIC_AUTH_", "OKTA_") if oauth else ("AUTH_", "BASIC_AUTH_")
    return {
        name: f"is not a setting: {_question(name, meant)}"
        for name, meant in similar.items()
        if meant.startswith(guard)
    }


def notes(settings: "Settings", set_names: Collection[str], used_by: UsedBy) -> Iterator[str]:
    """What is not wrong, but should be known to the person who starts the service."""
    password, issuer_url = settings.basic_auth_password, urlsplit(settings.okta_issuer or "")
    for name in settings.published_passwords:
        yield (
            f"{name} is printed in Okta's guide, so everybody knows it: gunicorn will refuse to "
            "start with it"
        )
    if password and len(password) < SHORTEST_PASSWORD:
        yield f"BASIC_AUTH_PASSWORD has fewer than {SHORTEST_PASSWORD} characters"
    if settings.basic_auth_password_previous:
        yield "BASIC_AUTH_PASSWORD_PREVIOUS is still accepted: remove it once Okta has the new one"
    if settings.event_hooks_are_off:
        yield (
            "event hooks are off (401): Okta sends them with HTTP Basic, and BASIC_AUTH_USER and "
            "BASIC_AUTH_PASSWORD are not set"
        )
    elif used_by == "server" and "EVENTS_DATABASE_URL" not in set_names:
        yield (
            f"events are stored in {settings.events_file}, since EVENTS_DATABASE_URL is not set: "
            "a platform that discards its disk at each deploy loses those that wait"
        )
    if settings.auth_mode == "oauth":
        if not settings.okta_client_id:
            yield "OKTA_CLIENT_ID is not set: only OKTA_SCOPE decides whose tokens pass"
        if not settings.okta_scope:
            yield "OKTA_SCOPE is not set: only OKTA_CLIENT_ID decides whose tokens pass"
        if issuer_url.scheme == "http":
            yield (
                "OKTA_ISSUER is on this machine and without TLS, which is only for a trial: any "
                "program that can listen on its port can issue tokens"
            )
        if issuer_url.path in ("", "/oauth2"):
            yield (
                "OKTA_ISSUER is not a custom authorization server, which ends with /oauth2/default "
                "or /oauth2/ and an ID: the org's own server issues no tokens for hooks"
            )
    elif "AUTH_MODE" not in set_names and any(name.startswith("OKTA_") for name in set_names):
        yield "AUTH_MODE is not set, so it is basic, and the OKTA_… settings do nothing"
    if settings.telephony_provider is None:
        yield "the telephony hook sends nothing: TELEPHONY_PROVIDER is not set"


def notes_on_names(similar: Mapping[str, str]) -> Iterator[str]:
    for name, meant in similar.items():
        yield f"{name} is not a setting of this service: {_question(name, meant)}"


def notes_on_strangers(names: Collection[str]) -> Iterator[str]:
    """A note on what is in .env, but is not a setting."""
    # Show only what looks like a name. Anything else may be a line of a key.
    shown = sorted(name for name in names if name.isidentifier() and len(name) <= 40)
    if shown:
        yield (
            f".env has names that are not settings of this service: {', '.join(shown)}. flask puts "
            "them into the environment, but gunicorn does not: set what a library needs there"
        )


def notes_on_files(files: Collection[Path]) -> Iterator[str]:
    for file in files:
        yield f"flask has also read {file}: its values count as set in the environment"


def _question(name: str, meant: str) -> str:
    if name.upper().replace("-", "_") == meant:
        return f"write it in capitals, {meant}"
    return f"is {meant} meant?"
