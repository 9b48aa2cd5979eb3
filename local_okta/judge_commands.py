"""The commands that each kind of hook knows, and what Okta does at each of them.

Reference: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/InlineHook/
"""

from typing import Any

RESERVED_CLAIMS = ("iss", "jti", "token_type", "ver")
SAML_ELEMENTS = ("subject", "authentication", "conditions", "claims")


class Dropped(Exception):
    """Okta cannot use the answer; `str()` says why."""


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Dropped(otherwise)


def request_of(payload: dict) -> str:
    return "profile update" if _is_progressive(payload) else "registration"


def _is_progressive(payload: dict) -> bool:
    return payload.get("requestType") == "progressive.profile"


def _registration_action(payload: dict, value: Any) -> str:
    action = _one_of(value, "registration", "ALLOW", "DENY")
    if action == "ALLOW":
        return f"allows the {request_of(payload)}"
    return f"denies the {request_of(payload)} with a general message"


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
    return "takes the user for one that it has"


def _linked_user(payload: dict, value: Any) -> str:
    is_id = isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"]
    check(is_id, "The value of com.okta.user.update has no id")
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
            check(isinstance(report.get(field), str), f"The report of the delivery has no {field}")
    outcome = {"SUCCESSFUL": "sent", "PENDING": "on its way", "FAILED": "not sent"}[status]
    return f"takes the code as {outcome} by {report['provider']}"


def _id_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "identity", "ID token", operations)


def _access_token_patch(payload: dict, operations: Any) -> str:
    return _token_patch(payload, "access", "access token", operations)


def _token_patch(payload: dict, part: str, token: str, operations: Any) -> str:
    target = _data(payload).get(part)
    check(isinstance(target, dict), f"com.okta.{part}.patch, but the request asks for no {token}")
    return _effects(operations, f"the {token}", target, _token_operation)


def _token_operation(op: str, steps: list[str], value: Any, target: dict) -> str:
    if steps == ["token", "lifetime", "expiration"]:
        check(op == "replace" and type(value) is int, "A lifetime is replaced by whole seconds")
        return "sets the lifetime of"
    check(steps[0] == "claims" and len(steps) > 1, f"/{'/'.join(steps)} is not the path of a claim")
    claim = steps[1]
    check(claim not in RESERVED_CLAIMS, f"{claim} is one of Okta's own claims")
    check(op in ("add", "replace", "remove"), f"{op} is not an operation on a token")
    if op != "add":
        check(_exists(steps, target), f"{claim} cannot be {op}d, since it is not there")
    return {"add": "adds {} to", "replace": "replaces {} in", "remove": "removes {} from"}[
        op
    ].format(claim)


def _assertion_patch(payload: dict, operations: Any) -> str:
    target = _data(payload).get("assertion", {})
    return _effects(operations, "the assertion", target, _assertion_operation)


def _assertion_operation(op: str, steps: list[str], value: Any, target: dict) -> str:
    check(op in ("add", "replace"), f"{op} is not an operation on an assertion")
    check(steps[0] in SAML_ELEMENTS and len(steps) > 1, f"/{'/'.join(steps)} cannot be changed")
    if op == "replace":
        check(_exists(steps, target), f"{steps[1]} cannot be replaced, since it is not there")
        return f"replaces {steps[1]} in"
    check(steps[0] == "claims" and len(steps) == 2, "Only a whole claim can be added")
    check(_is_attribute(value), f"{steps[1]} has no attributes.NameFormat or attributeValues")
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


def _effects(operations: Any, where: str, target: dict, operation) -> str:
    is_list = isinstance(operations, list) and all(isinstance(each, dict) for each in operations)
    check(is_list and operations, "The value of a patch is not a list of operations")
    effects = []
    for each in operations:
        op, path = each.get("op"), each.get("path")
        check(isinstance(path, str) and path.startswith("/"), f"{path} is not a path of a patch")
        check(op == "remove" or "value" in each, f"{op} {path} has no value")
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
    check(given in allowed, f"{name} is {given!r}, but can only be {' or '.join(allowed)}")
    return given


def _names(value: Any) -> str:
    check(isinstance(value, dict) and value, "The value of a profile update names no attribute")
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
