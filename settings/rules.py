"""What settings require of one another, and notes for the person who starts the service."""

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from . import events
from .values import ISSUER_IN_OKTA

if TYPE_CHECKING:
    from . import Settings

UsedBy = Literal["server", "flask run", "flask command"]
"""`server` is gunicorn or another WSGI server; `flask run` is for development."""

SHORTEST_PASSWORD = 12


def problems(settings: "Settings", used_by: UsedBy) -> dict[str, str]:
    """What is wrong with settings that are each valid."""
    problems = _missing(settings) | events.problems(settings, used_by)
    if used_by == "server":
        for name in settings.published_passwords:
            problems[name] = (
                "is the one printed in Okta's guide (admin:supersecret), which everybody knows. "
                "Choose another: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    return problems


def _missing(settings: "Settings") -> dict[str, str]:
    """Settings that others require, but that are not set."""
    oauth = settings.auth_mode == "oauth"
    user, password = settings.basic_auth_user, settings.basic_auth_password
    pair = "is not set or empty: choose one, and use the same pair in the hook in Okta"
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
            problems["TELEPHONY_PROVIDER"] = "needs pip install -r requirements/twilio.txt"
    return problems


def notes(settings: "Settings", set_names: Collection[str], used_by: UsedBy) -> Iterator[str]:
    """What the person who starts the service should know, although nothing is wrong."""
    password, issuer = settings.basic_auth_password, urlsplit(settings.okta_issuer)
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
            "a platform that discards its disk at each deploy loses the events that are waiting"
        )
    if settings.auth_mode == "oauth":
        if not settings.okta_client_id:
            yield "OKTA_CLIENT_ID is not set: only OKTA_SCOPE decides whose tokens pass"
        if not settings.okta_scope:
            yield "OKTA_SCOPE is not set: only OKTA_CLIENT_ID decides whose tokens pass"
        if issuer.scheme == "http":
            yield (
                "OKTA_ISSUER is on this machine and without TLS, which is only for a trial: any "
                "program that can listen on its port can issue tokens"
            )
        if issuer.path in ("", "/oauth2"):
            yield (
                "OKTA_ISSUER is not a custom authorization server, which ends with /oauth2/default "
                "or /oauth2/ and an ID: the org's own server issues no tokens for hooks"
            )
    elif "AUTH_MODE" not in set_names and any(name.startswith("OKTA_") for name in set_names):
        yield "AUTH_MODE is not set, so it is basic, and the OKTA_ settings have no effect"
    if settings.telephony_provider is None:
        yield "the telephony hook sends nothing: TELEPHONY_PROVIDER is not set"
