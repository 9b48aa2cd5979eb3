"""What Okta would do with an answer, in plain words.

Okta says little about an answer that it cannot use: the request is sent, and nothing happens. This
says why.

Reference: https://developer.okta.com/docs/concepts/inline-hooks/, and for each kind of hook
https://developer.okta.com/docs/api/openapi/okta-management/management/tag/InlineHook/
"""

from dataclasses import dataclass
from typing import Any

from local_okta.client import Answer
from local_okta.exchange import SIZE_LIMIT
from local_okta.judge_commands import COMMANDS, Dropped, check, general_message, request_of

GENERIC_MESSAGE = "The callback service returned an error"
NO_CHANGE = {
    "registration": "goes on unchanged",
    "token": "issues the tokens unchanged",
    "saml": "sends the assertion unchanged",
    "password-import": "uses its default, UNVERIFIED, and does not let the user sign in",
    "telephony": "sends the code through its own provider",
    "user-import": "imports the user unchanged",
}
# If a hook fails, some flows go on as if there were no hook, and some stop
# ("Inline hook time-out behavior" on the page about inline hooks).
FAILURE = NO_CHANGE | {
    "registration": "denies the registration or the profile update",
    "password-import": "does not let the user sign in, and does not import the password",
}


@dataclass(frozen=True)
class Verdict:
    """Whether Okta can use the answer (it can use a denial), and what it does then."""

    accepted: bool
    sentence: str


def judge(kind: str, payload: dict, answer: Answer) -> Verdict:
    """Judge the answer to `payload`, a request of the given kind ("event", "token", …)."""
    try:
        if kind == "event":
            _check_arrived(answer)
            return Verdict(True, "Okta counts the events as delivered")
        return Verdict(True, f"Okta {_inline(kind, payload, answer)}")
    except Dropped as reason:
        effect = "counts the delivery as failed" if kind == "event" else FAILURE[kind]
        return Verdict(False, f"{reason}: Okta {effect}")


def judge_verification(challenge: str, answer: Answer) -> Verdict:
    """Judge the answer to the one-time check of an event hook."""
    try:
        _check_arrived(answer)
        if not isinstance(answer.json, dict) or answer.json.get("verification") != challenge:
            raise Dropped('The answer is not {"verification": "<the challenge>"}')
    except Dropped as reason:
        return Verdict(False, f"{reason}: Okta does not verify the hook")
    return Verdict(True, "Okta verifies the hook")


def _check_arrived(answer: Answer) -> None:
    if answer.timed_out:
        tries = "" if answer.attempts == 1 else f" in {answer.attempts} attempts"
        missing = "access token" if answer.no_token else "answer"
        raise Dropped(f"No {missing} in time{tries}")
    if answer.status is None:
        raise Dropped(f"No answer ({answer.error})")
    if 300 <= answer.status < 400:
        raise Dropped(f"Status {answer.status} is a redirect, which Okta does not follow")
    if answer.status not in (200, 204):
        raise Dropped(f"Status {answer.status} is neither 200 nor 204")


def _inline(kind: str, payload: dict, answer: Answer) -> str:
    _check_arrived(answer)
    if answer.status == 204:
        return NO_CHANGE[kind]
    if len(answer.body) >= SIZE_LIMIT:
        raise Dropped("The answer is 256 KB or larger")
    body = answer.json
    if not isinstance(body, dict):
        raise Dropped("The body of a 200 is not a JSON object")
    if body.get("error") is not None:
        return _error(kind, payload, body["error"])
    commands = body.get("commands", [])
    if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
        raise Dropped("commands is not a list of objects")
    effects = [_command(kind, payload, command) for command in commands]
    if {"result": "LINK_USER"} in [command.get("value") for command in commands]:
        check(
            any(command["type"] == "com.okta.user.update" for command in commands),
            "LINK_USER also needs com.okta.user.update with the user's id",
        )
    return " and ".join(effects) or NO_CHANGE[kind]


def _error(kind: str, payload: dict, error: Any) -> str:
    check(isinstance(error, dict), "error is not an object")
    summary = error.get("errorSummary") or GENERIC_MESSAGE
    if kind == "registration":
        return _denial(payload, error.get("errorCauses") or [])
    if kind == "token":
        return f"answers the app with the OAuth error server_error and '{summary}'"
    return f"notes '{summary}' and {FAILURE[kind]}"


def _denial(payload: dict, causes: Any) -> str:
    is_list = isinstance(causes, list) and all(isinstance(cause, dict) for cause in causes)
    check(is_list, "errorCauses is not a list of objects")
    shown = " and ".join(
        f"'{cause['errorSummary']}' at the {cause['location'].rpartition('.')[2]} field"
        for cause in causes
        if isinstance(cause.get("location"), str) and cause.get("errorSummary")
    )
    general = f"'{general_message(payload)}'"
    return f"denies the {request_of(payload)} and shows {shown or general}"


def _command(kind: str, payload: dict, command: dict) -> str:
    name, value = command.get("type"), command.get("value")
    rules = COMMANDS[kind]
    check(
        isinstance(name, str) and name in rules,
        f"{name} is not a command of this hook (its commands: {', '.join(rules)})",
    )
    return rules[name](payload, value)
