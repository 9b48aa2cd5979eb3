"""What Okta would do with an answer, in plain words.

Okta says little about an answer that it drops: the hook is called, and nothing happens. This says
why. Reference: https://developer.okta.com/docs/concepts/inline-hooks/, and for each kind of hook
https://developer.okta.com/docs/api/openapi/okta-management/management/tag/InlineHook/
"""

from dataclasses import dataclass
from typing import Any

from local_okta.client import Answer

SIZE_LIMIT = 256 * 1024
GENERIC_MESSAGE = "The callback service returned an error"
RESERVED_CLAIMS = ("iss", "jti", "token_type", "ver")
SAML_ELEMENTS = ("subject", "authentication", "conditions", "claims")
NO_CHANGE = {
    "registration": "goes on unchanged",
    "token": "issues the tokens unchanged",
    "saml": "sends the assertion unchanged",
    "password-import": "takes the default action that it named in the call",
    "telephony": "sends the code itself through its own provider",
    "user-import": "imports the user unchanged",
}
# Where a hook fails, some flows go on as if there were none, and some stop
# ("Inline hook time-out behavior" on the page about inline hooks).
FAILURE = NO_CHANGE | {
    "registration": "denies the registration or the profile update",
    "password-import": "does not let the user sign in, and does not import the password",
}


@dataclass(frozen=True)
class Verdict:
    """Whether Okta can use the answer (a denial is one), and what it does then."""

    accepted: bool
    sentence: str


class Dropped(Exception):
    """Okta cannot use the answer; `str()` says why."""


def judge(kind: str, payload: dict, answer: Answer) -> Verdict:
    """Judge the answer to `payload`, a call of the given kind ("event", "token", …)."""
    try:
        if kind == "event":
            _check_arrived(answer)
            return Verdict(True, "Okta takes the events as delivered")
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
        raise Dropped(f"No answer in time{tries}")
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
        raise Dropped("The answer has 256 KB or more")
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
        _check(
            any(command["type"] == "com.okta.user.update" for command in commands),
            "LINK_USER needs com.okta.user.update with the user's id beside it",
        )
    return " and ".join(effects) or NO_CHANGE[kind]


def _error(kind: str, payload: dict, error: Any) -> str:
    _check(isinstance(error, dict), "error is not an object")
    summary = error.get("errorSummary") or GENERIC_MESSAGE
    if kind == "registration":
        return _denial(payload, error.get("errorCauses") or [])
    if kind == "token":
        return f"answers the app with the OAuth error server_error and '{summary}'"
    return f"notes '{summary}' and {FAILURE[kind]}"


def _denial(payload: dict, causes: Any) -> str:
    is_list = isinstance(causes, list) and all(isinstance(cause, dict) for cause in causes)
    _check(is_list, "errorCauses is not a list of objects")
    shown = " and ".join(
        f"'{cause.get('errorSummary')}' at the {cause['location'].rpartition('.')[2]} field"
        for cause in causes
        if isinstance(cause.get("location"), str)
    )
    return f"denies the {_request_of(payload)} and shows {shown or 'a general message'}"


def _command(kind: str, payload: dict, command: dict) -> str:
    name, value = command.get("type"), command.get("value")
    rules = COMMANDS[kind]
    _check(
        isinstance(name, str) and name in rules,
        f"{name} is no command of this hook (its commands: {', '.join(rules)})",
    )
    return rules[name](payload, value)


def _check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Dropped(otherwise)


def _request_of(payload: dict) -> str:
    return "profile update" if _is_progressive(payload) else "registration"


def _is_progressive(payload: dict) -> bool:
    return payload.get("requestType") == "progressive.profile"


def _registration_action(payload: dict, value: Any) -> str:
    action = _one_of(value, "registration", "ALLOW", "DENY")
    if action == "ALLOW":
        return f"allows the {_request_of(payload)}"
    return f"denies the {_request_of(payload)} with a general message"


def _new_profile(payload: dict, value: Any) -> str:
    _check(not _is_progressive(payload), "com.okta.user.profile.update is for self-service only")
    return f"sets {_names(value)} in the new profile"


def _progressive_profile(payload: dict, value: Any) -> str:
    _check(
        _is_progressive(payload),
        "com.okta.user.progressive.profile.update is for a progressive profile only",
    )
    return f"sets {_names(value)} in the profile"


def _password_action(payload: dict, value: Any) -> str:
    if _one_of(value, "credential", "VERIFIED", "UNVERIFIED") == "VERIFIED":
        return "imports the password"
    return "does not let the user sign in"


def _import_action(payload: dict, value: Any) -> str:
    if _one_of(value, "result", "CREATE_USER", "LINK_USER") == "CREATE_USER":
        return "creates the user"
    return "takes the user for one that it has"


def _linked_user(payload: dict, value: Any) -> str:
    is_id = isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"]
    _check(is_id, "The value of com.okta.user.update has no id")
    return f"links it to {value['id']}"


def _imported_profile(payload: dict, value: Any) -> str:
    return f"sets {_names(value)} in the user's profile"


def _imported_app_profile(payload: dict, value: Any) -> str:
    return f"sets {_names(value)} in the app user's profile"


def _delivery(payload: dict, value: Any) -> str:
    reports = value if isinstance(value, list) and value else [None]
    for report in reports:
        status = _one_of(report, "status", "SUCCESSFUL", "PENDING", "FAILED")
        for field in ("provider", "transactionId"):
            _check(isinstance(report.get(field), str), f"The report of the delivery has no {field}")
    outcome = {"SUCCESSFUL": "sent", "PENDING": "on its way", "FAILED": "not sent"}[status]
    return f"takes the code as {outcome} by {report['provider']}"


def _id_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "identity", "ID token", operations)


def _access_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "access", "access token", operations)


def _token_patch(payload: dict, part: str, token: str, operations: Any) -> str:
    target = payload["data"].get(part)
    _check(isinstance(target, dict), f"com.okta.{part}.patch, but the call asks for no {token}")
    return _effects(operations, f"the {token}", target, _token_operation)


def _token_operation(op: str, steps: list[str], value: Any, target: dict) -> str:
    if steps == ["token", "lifetime", "expiration"]:
        _check(op == "replace" and type(value) is int, "A lifetime is replaced by whole seconds")
        return "sets the lifetime of"
    _check(steps[0] == "claims" and len(steps) > 1, f"/{'/'.join(steps)} is no claim's path")
    claim = steps[1]
    _check(claim not in RESERVED_CLAIMS, f"{claim} is one of Okta's own claims")
    _check(op in ("add", "replace", "remove"), f"{op} is no operation on a token")
    if op != "add":
        _check(_exists(steps, target), f"{claim} cannot be {op}d, since it is not there")
    return {"add": "adds {} to", "replace": "replaces {} in", "remove": "removes {} from"}[
        op
    ].format(claim)


def _assertion_patch(payload: dict, operations: Any) -> str:
    target = payload["data"].get("assertion", {})
    return _effects(operations, "the assertion", target, _assertion_operation)


def _assertion_operation(op: str, steps: list[str], value: Any, target: dict) -> str:
    _check(op in ("add", "replace"), f"{op} is no operation on an assertion")
    _check(steps[0] in SAML_ELEMENTS and len(steps) > 1, f"/{'/'.join(steps)} cannot be changed")
    if op == "replace":
        _check(_exists(steps, target), f"{steps[1]} cannot be replaced, since it is not there")
        return f"replaces {steps[1]} in"
    _check(steps[0] == "claims" and len(steps) == 2, "Only a whole claim can be added")
    _check(_is_attribute(value), f"{steps[1]} has no attributes.NameFormat or attributeValues")
    return f"adds {steps[1]} to"


def _is_attribute(value: Any) -> bool:
    try:
        values = value["attributeValues"]
        return (
            isinstance(value["attributes"]["NameFormat"], str)
            and isinstance(values, list)
            and all("value" in each for each in values)
        )
    except (KeyError, TypeError):
        return False


def _effects(operations: Any, where: str, target: dict, operation) -> str:
    is_list = isinstance(operations, list) and all(isinstance(each, dict) for each in operations)
    _check(is_list and operations, "The value of a patch is not a list of operations")
    effects = []
    for each in operations:
        op, path = each.get("op"), each.get("path")
        _check(isinstance(path, str) and path.startswith("/"), f"{path} is no path of a patch")
        _check(op == "remove" or "value" in each, f"{op} {path} has no value")
        effects.append(f"{operation(op, _steps(path), each.get('value'), target)} {where}")
    return " and ".join(effects)


def _steps(path: str) -> list[str]:
    """The reference tokens of a JSON Pointer (RFC 6901, 4)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _exists(steps: list[str], target: Any) -> bool:
    for step in steps:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
            target = target[int(step)]
        else:
            return False
    return True


def _one_of(value: Any, name: str, *allowed: str) -> str:
    given = value.get(name) if isinstance(value, dict) else None
    _check(given in allowed, f"{name} is {given!r}, but can only be {' or '.join(allowed)}")
    return given


def _names(value: Any) -> str:
    _check(isinstance(value, dict) and value, "The value of a profile update names no attribute")
    return ", ".join(value)


# Every command that a kind of hook knows, and the rule that says what it does.
COMMANDS = {
    "registration": {
        "com.okta.action.update": _registration_action,
        "com.okta.user.profile.update": _new_profile,
        "com.okta.user.progressive.profile.update": _progressive_profile,
    },
    "token": {
        "com.okta.identity.patch": _id_token_patch,
        "com.okta.access.patch": _access_token_patch,
    },
    "saml": {"com.okta.assertion.patch": _assertion_patch},
    "password-import": {"com.okta.action.update": _password_action},
    "telephony": {"com.okta.telephony.action": _delivery},
    "user-import": {
        "com.okta.action.update": _import_action,
        "com.okta.user.update": _linked_user,
        "com.okta.user.profile.update": _imported_profile,
        "com.okta.appUser.profile.update": _imported_app_profile,
    },
}
