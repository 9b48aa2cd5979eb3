"""The sample requests: one for each kind of hook, and the variants that are answered differently.

A sample is an entry of this list and a file `<name>.json` beside it. All that is known of samples
(previews, the demo, tests) is computed from here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A request that Okta sends."""

    name: str
    kind: str
    """As the judge knows it: event, registration, token, saml, password-import, …"""
    path: str
    about: str
    expected: str | None = None
    """What Okta does with the right answer: how the judge's sentence goes on after "Okta ". Without
    it, whatever Okta can use is right."""

    @property
    def payload(self) -> dict:
        payload = json.loads((_FOLDER / f"{self.name}.json").read_text(encoding="utf-8"))
        if self.kind == "event":
            # New events each time: those that the service knows already it would not handle.
            for event in payload["data"]["events"]:
                event["uuid"] = str(uuid4())
        return payload

    @property
    def authentications(self) -> tuple[str, ...]:
        """How Okta can authenticate this kind of hook."""
        return ("basic",) if self.kind == "event" else ("basic", "client-secret", "private-key")

    def is_as_expected(self, verdict) -> bool:
        expected = f"Okta {self.expected or ''}"
        return verdict.accepted and verdict.sentence.startswith(expected)


_SAMPLES = [
    Sample(
        "event-user-deactivated",
        "event",
        "/userDeactivated",
        "two users were deactivated",
        "takes the events as delivered",
    ),
    Sample(
        "event-user-created",
        "event",
        "/userCreated",
        "a user was created",
        "takes the events as delivered",
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
        "takes the code as sent by console",
    ),
    Sample(
        "telephony-voice",
        "telephony",
        "/telephonyHook",
        "a code by voice call",
        "takes the code as sent by console",
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
        "the user is there already",
        "takes the user for one that it has and links it to",
    ),
]

SAMPLES = {sample.name: sample for sample in _SAMPLES}
