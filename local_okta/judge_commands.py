"""The commands that each kind of hook can return, and what Okta does with them.

Reference: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/InlineHook/
"""

import copy
from collections.abc import Callable
from typing import Any

from local_okta.json_patch import CannotApply, apply, steps_of
from local_okta.reserved_claims import RESERVED_CLAIMS

# A token lives at least five minutes and at most a day, in seconds.
SHORTEST_LIFETIME, LONGEST_LIFETIME = 300, 86_400
LIFETIME = ["token", "lifetime", "expiration"]
# What a path may start with.
SAML_ELEMENTS = ("subject", "authentication", "conditions", "claims")


class Dropped(Exception):
    """Okta cannot use the answer; `str()` says why."""


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Dropped(otherwise)


def request_of(payload: dict) -> str:
    return "profile update" if _is_progressive(payload) else "registration"


def general_message(payload: dict) -> str:
    """What the user sees if an `error` shows nothing at a field."""
    if _is_progressive(payload):
        return "We found some errors. Please review the form and make corrections."
    return "Registration cannot be completed at this time."


def _is_progressive(payload: dict) -> bool:
    return payload.get("requestType") == "progressive.profile"


def _registration_action(payload: dict, value: Any) -> str:
    action = _one_of(value, "registration", "ALLOW", "DENY")
    if action == "ALLOW":
        return f"allows the {request_of(payload)}"
    message = "Profile update denied." if _is_progressive(payload) else "Registration denied."
    return f"denies the {request_of(payload)} and shows '{message}'"


def _new_profile(payload: dict, value: Any) -> str:
    check(not _is_progressive(payload), "com.okta.user.profile.update is for self-service only")
    return f"sets {_names(value)} in the new profile"


def _progressive_profile(payload: dict, value: Any) -> str:
    check(
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
    return "treats the user as an existing one"


def _linked_user(payload: dict, value: Any) -> str:
    is_id = isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"]
    check(is_id, "The value of com.okta.user.update has no id")
    return f"links it to {value['id']}"


def _imported_profile(payload: dict, value: Any) -> str:
    return f"sets {_names(value)} in the user's profile"


def _imported_app_profile(payload: dict, value: Any) -> str:
    return f"sets {_names(value)} in the app user's profile"


def _delivery(payload: dict, value: Any) -> str:
    check(isinstance(value, list), "The value of com.okta.telephony.action is not a list")
    check(value, "The value of com.okta.telephony.action is empty")
    words = {"SUCCESSFUL": "sent", "PENDING": "on its way", "FAILED": "not sent"}
    outcomes = []
    for report in value:
        outcome = words[_one_of(report, "status", *words)]
        for field in ("provider", "transactionId", "transactionMetadata"):
            check(isinstance(report.get(field, ""), str), f"{field} is not a string")
        outcomes.append(f"{outcome} by {report.get('provider') or 'an unnamed provider'}")
    return f"counts the code as {' and '.join(outcomes)}"


def _id_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "identity", "ID token", operations)


def _access_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "access", "access token", operations)


def _token_patch(payload: dict, part: str, token: str, operations: Any) -> str:
    target = _data(payload).get(part)
    check(isinstance(target, dict), f"com.okta.{part}.patch, but the request asks for no {token}")

    def effect(op: str, steps: list[str], value: Any) -> str:
        if steps == LIFETIME:
            return _new_lifetime(op, value)
        check(
            steps[0] == "claims" and len(steps) > 1,
            f"/{'/'.join(steps)} is not the path of a claim",
        )
        claim = steps[1]
        check(
            claim not in RESERVED_CLAIMS[token],
            f"{claim} is one of Okta's own claims in an {token}, which cannot be changed",
        )
        words = {"add": "adds {} to", "replace": "replaces {} in", "remove": "removes {} from"}
        check(op in words, f"{op} is not an operation on a token")
        return words[op].format(claim)

    return _effects(operations, f"the {token}", target, effect)


def _new_lifetime(op: str, value: Any) -> str:
    check(op == "replace" and type(value) is int, "A lifetime is replaced, with whole seconds")
    check(
        SHORTEST_LIFETIME <= value <= LONGEST_LIFETIME,
        f"A lifetime of {value} s is not between {SHORTEST_LIFETIME} and {LONGEST_LIFETIME} s",
    )
    return "sets the lifetime of"


def _assertion_patch(payload: dict, operations: Any) -> str:
    return _effects(
        operations, "the assertion", _data(payload).get("assertion", {}), _assertion_effect
    )


def _assertion_effect(op: str, steps: list[str], value: Any) -> str:
    check(op in ("add", "replace"), f"{op} is not an operation on an assertion")
    check(steps[0] in SAML_ELEMENTS and len(steps) > 1, f"/{'/'.join(steps)} cannot be changed")
    if op == "replace":
        return f"replaces {steps[1]} in"
    is_new_claim = steps[0] == "claims" and len(steps) == 2
    check(
        not is_new_claim or _is_attribute(value),
        f"{steps[1]} has no attributes.NameFormat or attributeValues",
    )
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


def _data(payload: dict) -> dict:
    data = payload.get("data")
    return data if isinstance(data, dict) else {}


def _effects(
    operations: Any, where: str, target: Any, effect_of: Callable[[str, list[str], Any], str]
) -> str:
    """What the operations do, one after the other. If one of them fails, Okta applies none."""
    is_list = isinstance(operations, list) and all(isinstance(each, dict) for each in operations)
    check(is_list and operations, "The value of a patch is not a list of operations")
    document = copy.deepcopy(target)
    effects = []
    for each in operations:
        op, path, value = each.get("op"), each.get("path"), each.get("value")
        check(isinstance(op, str), "An operation of a patch has no op")
        check(isinstance(path, str) and path.startswith("/"), f"{path} is not a path of a patch")
        if op == "remove":
            check(value is None, f"{op} {path} has a value other than null")
        else:
            check("value" in each, f"{op} {path} has no value")
        steps = steps_of(path)
        effects.append(f"{effect_of(op, steps, value)} {where}")
        if steps != LIFETIME:
            try:
                apply(op, steps, value, document)
            except CannotApply as reason:
                raise Dropped(f"{op} {path}: {reason}") from None
    return " and ".join(effects)


def _one_of(value: Any, name: str, *allowed: str) -> str:
    given = value.get(name) if isinstance(value, dict) else None
    check(given in allowed, f"{name} is {given!r}, but can only be {' or '.join(allowed)}")
    return given


def _names(value: Any) -> str:
    check(isinstance(value, dict) and value, "The value of a profile update names no attribute")
    check("password" not in value, "No command can change a user's password")
    return ", ".join(value)


# The commands of each kind of hook, and the rule that says what a command does.
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
