"""The sample requests: one for each kind of hook, and the variants that are answered differently.

A sample is an entry of the list below and a file `<name>.json` beside this one. The previews, the
demo and the tests take everything about samples from here.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

PLACE = "local_okta/samples"

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A request that Okta sends."""

    name: str
    kind: str
    """As the judge calls it: event, registration, token, saml, password-import, …"""
    path: str
    about: str
    expected: str | None = None
    """What Okta does with the right answer: how the judge's sentence goes on after "Okta ". Without
    it, every answer that Okta can use is right."""

    @property
    def payload(self) -> dict[str, Any]:
        """The body. A file that cannot be read ends a command with a message that names it."""
        payload = read(_FOLDER / f"{self.name}.json", self.kind)
        if self.kind == "event":
            # New events each time, since the service handles each event only once.
            for event in payload["data"]["events"]:
                event["uuid"] = str(uuid4())
        return payload

    @property
    def authentications(self) -> tuple[str, ...]:
        """How Okta can authenticate to this kind of hook."""
        return ("basic",) if self.kind == "event" else ("basic", "client-secret", "private-key")

    def is_as_expected(self, verdict) -> bool:
        expected = f"Okta {self.expected or ''}"
        return verdict.accepted and verdict.sentence.startswith(expected)


def read(path: Path, kind: str) -> dict[str, Any]:
    """The body in a sample's file. An error names the file and, if it can, the line."""
    where, reason = f"{PLACE}/{path.name}", "is not a JSON object"
    try:
        payload = json.loads(path.read_bytes())
        if isinstance(payload, dict):
            if kind != "event" or _has_events(payload):
                return payload
            reason = "is for an event hook, but its data.events is not a list of objects"
    except FileNotFoundError:
        reason = f"does not exist, but {PLACE}/__init__.py:{_line_of(path.stem)} lists it"
    except OSError as error:
        reason = f"cannot be read: {os.strerror(error.errno)}"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except json.JSONDecodeError as error:
        where += f":{error.lineno}"
        reason = f"is not JSON: {error.msg} (column {error.colno})"
    raise click.ClickException(f"{where} {reason}")


def _has_events(payload: dict[str, Any]) -> bool:
    data = payload.get("data")
    events = data.get("events") if isinstance(data, dict) else None
    return isinstance(events, list) and all(isinstance(event, dict) for event in events)


def _line_of(name: str) -> int:
    """The line of the sample's entry below."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'"{name}"' in line)


_SAMPLES = [
    Sample(
        "event-user-deactivated",
        "event",
        "/userDeactivated",
        "two users were deactivated",
        "counts the events as delivered",
    ),
    Sample(
        "event-user-created",
        "event",
        "/userCreated",
        "a user was created",
        "counts the events as delivered",
    ),
    Sample(
        "registration-self-service",
        "registration",
        "/registrationHookSSR",
        "a good address",
        "allows the registration",
    ),
    Sample(
        "registration-self-service-denied",
        "registration",
        "/registrationHookSSR",
        "an address of another domain",
        "denies the registration and shows '",
    ),
    Sample(
        "registration-progressive",
        "registration",
        "/registrationHookPP",
        "a good number",
        "sets employeeNumber in the profile",
    ),
    Sample(
        "registration-progressive-denied",
        "registration",
        "/registrationHookPP",
        "a bad number",
        "denies the profile update and shows '",
    ),
    Sample(
        "registration-both",
        "registration",
        "/registrationHookSSRandPP",
        "address and number",
        "allows the registration",
    ),
    Sample(
        "token",
        "token",
        "/tokenHook",
        "a patient signs in to an OpenID Connect app",
        "adds extPatientId to the ID token",
    ),
    Sample(
        "saml",
        "saml",
        "/SAMLHook",
        "a patient signs in to a SAML app",
        "adds extPatientId to the assertion",
    ),
    Sample(
        "password-import",
        "password-import",
        "/passwordImport",
        "the right password",
        "imports the password",
    ),
    Sample(
        "password-import-wrong",
        "password-import",
        "/passwordImport",
        "a wrong password",
        "does not let the user sign in",
    ),
    Sample(
        "telephony",
        "telephony",
        "/telephonyHook",
        "a code by text message",
        "counts the code as sent by console",
    ),
    Sample(
        "telephony-voice",
        "telephony",
        "/telephonyHook",
        "a code by voice call",
        "counts the code as sent by console",
    ),
    Sample(
        "user-import",
        "user-import",
        "/userImport",
        "the login is taken",
        "sets login in the user's profile",
    ),
    Sample(
        "user-import-matched",
        "user-import",
        "/userImport",
        "the user already exists",
        "treats the user as an existing one and links it to",
    ),
]

SAMPLES = {sample.name: sample for sample in _SAMPLES}


def check_samples() -> None:
    """Read every sample, so that a command with a broken one ends before it starts anything."""
    for sample in SAMPLES.values():
        read(_FOLDER / f"{sample.name}.json", sample.kind)
