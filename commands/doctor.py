"""`flask okta doctor`: what is wrong here, and what to type into Okta.

If the settings are wrong, it exits at once, with the same message as the service itself.
"""

import time
from email.utils import parsedate_to_datetime

import click
from flask import current_app
from flask.cli import with_appcontext
from urllib3.exceptions import HTTPError

from auth.keys import (
    ATTEMPT_SECONDS,
    IssuerError,
    fetch_keys,
    read_metadata,
    reason_of,
    session_for,
)
from auth.oauth import CLOCK_SKEW_SECONDS
from commands.events_report import check_events
from commands.terminal import Report, say
from settings import Settings

# Beyond this the clocks need attention, although tokens are still accepted.
CLOCK_WARNING_SECONDS = 10

ADVICE = {
    "ConnectTimeout": f"no answer within {ATTEMPT_SECONDS:.0f} s: a firewall or a proxy?",
    "OSError": "REQUESTS_CA_BUNDLE names a file that does not exist",
    "ReadTimeout": f"no full answer within {ATTEMPT_SECONDS:.0f} s: is the issuer or a proxy slow?",
    "ConnectionError": "no connection: check the domain, DNS, and outgoing connections, or for the "
    "local Okta that flask okta serve is running",
    "SSLError": "TLS certificate not trusted: set REQUESTS_CA_BUNDLE to your company's CA "
    "certificates, or fix the issuer's certificate chain",
    "ProxyError": "the proxy named in HTTPS_PROXY refuses the connection",
    "issuer_answered_404": "there is no such authorization server: compare with Issuer URI in Okta",
    "metadata_of_another_issuer": "the metadata names another issuer: OKTA_ISSUER must be the "
    "Issuer URI, character for character (a custom domain has its own)",
    "metadata_without_jwks_uri": "the metadata names no key set: is it Okta's?",
    "jwks_uri_not_https": "the key set's address is not https, so its keys could be replaced",
    "key_set_without_usable_key": "the key set holds no RS256 key of 2048 bits or more",
}


@click.command("doctor", short_help="Check settings, issuer, keys, scope and clock.")
@with_appcontext
def doctor_command() -> None:
    """Check the settings, the issuer, its keys, the scope and the clock.

    Prints a line for each check, and then what to type into Okta. The exit status is 1 if anything
    is wrong.
    """
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    settings: Settings = current_app.config["SETTINGS"]
    report = Report()
    check_settings(report, settings)
    check_events(report)
    if settings.auth_mode == "oauth":
        check_issuer(report, settings)
    if report.wrong:
        raise SystemExit(1)
    tell_what_to_type(settings)


def check_settings(report: Report, settings: Settings) -> None:
    say("\nSettings", bold=True)
    report.line("ok", "AUTH_MODE", settings.auth_mode)
    if not settings.basic_auth_password:
        report.line("note", "user and password", "not set: event hooks are off")
    else:
        report.line("ok", "user and password", f"user {settings.basic_auth_user}, password set")
    for name in settings.published_passwords:
        report.line("wrong", name, "is the one printed in Okta's guide: choose another")
    if settings.basic_auth_password_previous:
        report.line("note", "previous password", "accepted: remove it once Okta has the new one")
    if settings.auth_mode == "oauth":
        clients = ", ".join(sorted(settings.okta_client_id)) or "any (only OKTA_SCOPE decides)"
        report.line("ok" if settings.okta_client_id else "note", "OKTA_CLIENT_ID", clients)
        scope = settings.okta_scope or "none (only OKTA_CLIENT_ID decides)"
        report.line("ok" if settings.okta_scope else "note", "OKTA_SCOPE", scope)
        report.line("ok", "OKTA_AUDIENCE", settings.okta_audience)
    if settings.telephony_provider == "twilio":
        report.line("ok", "TELEPHONY_PROVIDER", "twilio")
    else:
        provider = settings.telephony_provider or "not set"
        report.line("note", "TELEPHONY_PROVIDER", f"{provider}: no code is sent by SMS or call")


def check_issuer(report: Report, settings: Settings) -> None:
    say(f"\nIssuer {settings.okta_issuer}", bold=True)
    started = time.monotonic()
    try:
        keys = fetch_keys(settings.okta_issuer)
        milliseconds = (time.monotonic() - started) * 1000
        with session_for(settings.okta_issuer) as session:
            metadata = read_metadata(session, settings.okta_issuer)
            # Any answer will do: only its Date header is used.
            answer = session.head(settings.okta_issuer, timeout=ATTEMPT_SECONDS)
    except (IssuerError, OSError, HTTPError) as error:
        reason = reason_of(error)
        advice = ADVICE.get(reason, "is it an authorization server that answers there, or a proxy?")
        report.line("wrong", "metadata and keys", f"{reason}: {advice}")
        return
    report.line("ok", "reachable", f"metadata and keys in {milliseconds:.0f} ms")
    report.line("ok", "metadata", "names the same issuer")
    report.line("ok", "keys", f"{len(keys)} for RS256: {', '.join(keys)}")
    check_scope(report, settings.okta_scope, metadata.get("scopes_supported"))
    check_clock(report, answer.headers.get("Date", ""))


def check_scope(report: Report, scope: str | None, published: object) -> None:
    if scope is None:
        return
    if not isinstance(published, list):
        report.line("note", "scope", "the metadata lists no scopes, so this cannot be checked")
    elif scope in published:
        report.line("ok", "scope", f"{scope} is published")
    else:
        report.line(
            "wrong",
            "scope",
            f"{scope} is not published: add it under Security > API > your server > Scopes, "
            "with Metadata: Include in public metadata",
        )


def check_clock(report: Report, date: str) -> None:
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        report.line("note", "clock", "the issuer sends no Date, so this cannot be checked")
        return
    apart = abs(time.time() - theirs)
    said = f"{apart:.0f} s apart from the issuer's; up to {CLOCK_SKEW_SECONDS} s are tolerated"
    if apart > CLOCK_SKEW_SECONDS:
        report.line("wrong", "clock", f"{said}: set this machine's clock (NTP)")
    else:
        report.line("ok" if apart <= CLOCK_WARNING_SECONDS else "note", "clock", said)


def tell_what_to_type(settings: Settings) -> None:
    say("\nWhat to type into Okta", bold=True)
    header = (
        ("Authentication field", "Authorization"),
        ("Authentication secret", "the output of: flask okta auth-secret"),
    )
    if settings.basic_auth_password:
        title = "Event hooks" if settings.auth_mode == "oauth" else "Event hooks and inline hooks"
        _fields(title, "https://<this service>/<path of the hook>", header)
    if settings.auth_mode == "oauth":
        fields = (
            ("Authentication", "OAuth 2.0, with client secret or private key"),
            ("Client ID", ", ".join(sorted(settings.okta_client_id)) or "your app's"),
            ("Token URL", f"{settings.okta_issuer}/v1/token"),
            ("Scope", settings.okta_scope or "a scope of your server"),
        )
        _fields("Inline hooks", "https://<this service>/<path of the hook>", fields)
    say()


def _fields(title: str, url: str, fields: tuple[tuple[str, str], ...]) -> None:
    say(f"  {title}")
    for name, value in (("URL", url), *fields):
        say(f"    {name:<22} {value}")
