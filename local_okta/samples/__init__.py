"""The sample calls: one for each kind of hook, and the variants that are answered differently."""

import json
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent

EVENT_HOOK_PATHS = ("/userDeactivated", "/userCreated")


@dataclass(frozen=True)
class Sample:
    """A call: `kind` as the judge knows it, `path` as Okta's guides have it."""

    name: str
    kind: str
    path: str
    about: str

    @property
    def payload(self) -> dict:
        return json.loads((_FOLDER / f"{self.name}.json").read_text(encoding="utf-8"))

    @property
    def authentications(self) -> tuple[str, ...]:
        """How Okta can authenticate this kind of hook."""
        if self.kind == "event":
            return ("basic",)
        return ("basic", "client-secret", "private-key")


SAMPLES = {
    name: Sample(name, kind, path, about)
    for name, kind, path, about in [
        ("event-user-deactivated", "event", "/userDeactivated", "two users were deactivated"),
        ("event-user-created", "event", "/userCreated", "a user was created"),
        ("registration-self-service", "registration", "/registrationHookSSR", "a good address"),
        (
            "registration-self-service-denied",
            "registration",
            "/registrationHookSSR",
            "an address of another domain",
        ),
        ("registration-progressive", "registration", "/registrationHookPP", "a good number"),
        ("registration-progressive-denied", "registration", "/registrationHookPP", "a bad number"),
        ("registration-both", "registration", "/registrationHookSSRandPP", "address and number"),
        ("token", "token", "/tokenHook", "a patient signs in to an OpenID Connect app"),
        ("saml", "saml", "/SAMLHook", "a patient signs in to a SAML app"),
        ("password-import", "password-import", "/passwordImport", "the right password"),
        ("password-import-wrong", "password-import", "/passwordImport", "a wrong password"),
        ("telephony", "telephony", "/telephonyHook", "a code by text message"),
        ("telephony-voice", "telephony", "/telephonyHook", "a code by voice call"),
        ("user-import", "user-import", "/userImport", "the login is taken"),
        ("user-import-matched", "user-import", "/userImport", "the user is there already"),
    ]
}
