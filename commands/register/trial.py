"""What is said of the service before the steps, and how its hooks are tried out after them."""

from collections.abc import Iterator

import requests

from auth.keys import session_for
from settings import Settings

from .client import Json, OktaError
from .hooks import EventHook, InlineHook
from .oauth import App
from .plan import Choices
from .resources import Resource
from .screen import Screen

SECONDS = 5
MODES = {"basic": ("Basic", "basic"), "bearer": ("a token", "oauth")}
OTHER_SETTINGS = (
    "If the service's log has 401 or 403 for a hook, the service runs with other settings than\n"
    "these here, or Okta has an old secret. Compare the lines below, start the service again, and\n"
    "run this command again; --secrets writes passwords and client secrets into the hooks again."
)


def notes(settings: Settings, choices: Choices, resources: list[Resource]) -> Iterator[str]:
    """What would make the hooks fail after the steps."""
    app = next((each for each in resources if isinstance(each, App)), None)
    if note := _note_of_service(choices, "bearer" if app else "basic"):
        yield note
    known = settings.okta_client_id
    if app and known and app.client_id not in known:
        client = app.client_id if app.item else "a new one"
        yield (
            f"OKTA_CLIENT_ID is {', '.join(sorted(known))}, and the hooks' client is {client}. The "
            "service refuses it until OKTA_CLIENT_ID names it."
        )
    if settings.event_hooks_are_off:
        yield "event hooks are left out: BASIC_AUTH_USER and BASIC_AUTH_PASSWORD are not set."


def _note_of_service(choices: Choices, scheme: str) -> str | None:
    """What the service asks for, as far as it can be seen from here."""
    path = next((hook.path for hook in choices.hooks if hook.type), None)
    if path is None:
        return None
    url = f"{choices.url}{path}"
    try:
        with session_for(url) as session:
            answer = session.get(url, timeout=SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return f"from here, {url} does not answer ({type(error).__name__}). Does the service run?"
    challenge = answer.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
    if answer.status_code != 401 or challenge not in MODES:
        return f"from here, {url} answers with {answer.status_code}. Is it this service?"
    if challenge == scheme:
        return None
    asked, sent = MODES[challenge], MODES[scheme]
    return (
        f"the service asks for {asked[0]}, and the hooks will send {sent[0]}. It refuses them "
        f"until it runs with AUTH_MODE={sent[1]}."
    )


def try_out(resources: list[Resource], payloads: dict[str, Json], screen: Screen) -> bool:
    """Let Okta verify event hooks and send a sample to inline hooks. False if one has failed.

    `payloads` has a request's body for each path.

    Okta does it as it always does, with the secrets that it has. So this tells whether those are
    right, which no comparison could.
    """
    failed = False
    screen.say("Okta tries the hooks:\n")
    for resource in resources:
        try:
            outcome = _outcome(resource, payloads)
        except OktaError as error:
            failed = True
            screen.line("failed", "red", resource.what, f"{resource.detail}\n{error}")
            continue
        if outcome:
            screen.line("works", "green", resource.what, f"{resource.detail}  {outcome}")
    if failed:
        screen.say(f"\n{OTHER_SETTINGS}", fg="yellow")
    return not failed


def _outcome(resource: Resource, payloads: dict[str, Json]) -> str | None:
    """What came back; None if there is nothing to try. Raises OktaError."""
    if resource.item is None:
        return None
    if isinstance(resource, EventHook):
        if not resource.is_verified:
            resource.verify()
        return "verified"
    if not isinstance(resource, InlineHook) or resource.hook.is_telephony:
        # It would send a message to somebody.
        return None
    payload = payloads.get(resource.hook.path)
    return answered(resource.execute(payload)) if payload else None


def answered(answer: Json) -> str:
    """An inline hook's answer in a few words."""
    commands = answer.get("commands")
    types = [each.get("type") for each in commands or [] if isinstance(each, dict)]
    if isinstance(answer.get("error"), dict):
        types.append(f"error: {answer['error'].get('errorSummary')}")
    return ", ".join(map(str, types)) or "no change"


def settings_lines(choices: Choices, resources: list[Resource]) -> list[str]:
    """What the service's settings must say. None of it is secret."""
    app = next((each for each in resources if isinstance(each, App)), None)
    if app is None:
        return ["AUTH_MODE=basic"]
    return [
        "AUTH_MODE=oauth",
        f"OKTA_ISSUER={choices.issuer}",
        f"OKTA_AUDIENCE={choices.audience}",
        f"OKTA_CLIENT_ID={app.client_id}",
        f"OKTA_SCOPE={choices.scope}",
    ]
