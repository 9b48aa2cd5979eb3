"""Registration inline hook: decides who may sign up, and what may be added to a profile later.

Reads    requestType, which Classic Engine does not send, since it only has sign-ups;
         data.userProfile.email, else .login, when a user signs up;
         data.userProfileUpdate.employeeNumber when a user adds to a profile
Answers  com.okta.action.update ALLOW or DENY; com.okta.user.progressive.profile.update; an error
         with a cause for each mistake
Guide    https://developer.okta.com/docs/guides/registration-inline-hook/
"""

import re
from collections.abc import Collection

from flask import Response, current_app
from flask.typing import ResponseReturnValue

from .contract import (
    NO_CHANGE,
    HookBlueprint,
    Payload,
    UnreadableRequest,
    answer,
    cause,
    command,
    error,
)

SELF_SERVICE = "self.service.registration"
PROGRESSIVE = "progressive.profile"
PROFILE_NUMBER = "data.userProfile.employeeNumber"
"""The path of a new user's number. In both flows, Okta shows an error about a number there."""

bp = HookBlueprint(
    "registration", __name__, kind="inline", event_type="com.okta.user.pre-registration"
)


@bp.post("/registrationHookSSR")
def self_service() -> ResponseReturnValue:
    payload = Payload.current()
    if request_type(payload) == PROGRESSIVE:
        return NO_CHANGE
    return allow_unless(email_causes(payload))


@bp.post("/registrationHookPP")
def progressive_profile() -> ResponseReturnValue:
    payload = Payload.current()
    if request_type(payload) == SELF_SERVICE:
        return NO_CHANGE
    return update_profile(payload)


@bp.post("/registrationHookSSRandPP")
def both() -> ResponseReturnValue:
    payload = Payload.current()
    if request_type(payload) == PROGRESSIVE:
        return update_profile(payload)
    _, number_causes = employee_number(payload, PROFILE_NUMBER)
    return allow_unless(email_causes(payload) + number_causes)


def may_register(address: str, allowed_domains: Collection[str]) -> bool:
    """The rule for an e-mail address: the whole part after the last "@" is an allowed domain.

    The domains are lower-case ASCII. A domain with other letters never matches, since some of these
    become ASCII in lower case (the Kelvin sign becomes a "k").
    """
    local_part, _, domain = address.rpartition("@")
    return local_part != "" and domain.isascii() and domain.lower() in allowed_domains


def is_employee_number(number: str) -> bool:
    """The rule for an employee number: four ASCII digits."""
    return re.fullmatch("[0-9]{4}", number) is not None


def request_type(payload: Payload) -> str:
    """The kind of flow. Only Identity Engine names it; Classic Engine has only self-service."""
    kind = payload.text("requestType", optional=True) or SELF_SERVICE
    if kind not in (SELF_SERVICE, PROGRESSIVE):
        summary = f"requestType must be {SELF_SERVICE} or {PROGRESSIVE}"
        raise UnreadableRequest(summary, [cause(summary, "UNKNOWN_VALUE", "requestType")])
    return kind


def email_causes(payload: Payload) -> list[dict[str, str]]:
    path, address = payload.first_text("data.userProfile.email", "data.userProfile.login")
    if may_register(address, current_app.config["SETTINGS"].registration_allowed_domains):
        return []
    summary = "You cannot sign up with an e-mail address from this domain."
    return [cause(summary, "INVALID_EMAIL_DOMAIN", path, domain="end-user")]


def employee_number(payload: Payload, path: str) -> tuple[str | None, list[dict[str, str]]]:
    """The number and what is wrong with it. A missing number is the user's mistake, not a 400."""
    number = payload.text_or_number(path, optional=True)
    if number is not None and is_employee_number(number):
        return number, []
    summary = "An employee number has four digits."
    return number, [cause(summary, "INVALID_EMPLOYEE_NUMBER", PROFILE_NUMBER, domain="end-user")]


def allow_unless(causes: list[dict[str, str]]) -> Response:
    if causes:
        return deny(causes)
    return answer(command("com.okta.action.update", {"registration": "ALLOW"}))


def update_profile(payload: Payload) -> Response:
    payload.object("data.userProfileUpdate")
    number, causes = employee_number(payload, "data.userProfileUpdate.employeeNumber")
    if causes:
        return deny(causes)
    profile = {"employeeNumber": number}
    return answer(command("com.okta.user.progressive.profile.update", profile))


def deny(causes: list[dict[str, str]]) -> Response:
    return answer(
        command("com.okta.action.update", {"registration": "DENY"}),
        error=error("Please correct what you have entered.", *causes),
    )
