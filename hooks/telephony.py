"""Telephony inline hook: delivers Okta's one-time codes, by SMS or by voice call.

Reads    data.messageProfile.phoneNumber, .otpCode, .deliveryChannel, .locale, .msgTemplate
Answers  com.okta.telephony.action SUCCESSFUL; an error if no code went out
Guide    https://developer.okta.com/docs/guides/telephony-inline-hook/

Phone number and code are never logged. `telephony_providers` delivers them.
"""

import logging

from flask import Response, current_app
from flask.blueprints import BlueprintSetupState

from .contract import HookBlueprint, Payload, answer, cause, command, error
from .telephony_providers import SMS, VOICE, ProviderFailure, provider_of

PROFILE = "data.messageProfile"
# Okta's documentation has used each of these names for a voice call, in upper and lower case.
CHANNELS = {"sms": SMS, "voice": VOICE, "call": VOICE, "voice call": VOICE}

bp = HookBlueprint("telephony", __name__, kind="inline", event_type="com.okta.telephony.provider")
log = logging.getLogger(__name__)


@bp.record_once
def set_up_provider(state: BlueprintSetupState) -> None:
    state.app.config.setdefault("TELEPHONY_SEND", provider_of(state.app.config["SETTINGS"]))


@bp.post("/telephonyHook")
def deliver_code() -> Response:
    payload = Payload.current()
    phone_number = with_plus(payload.text_or_number(f"{PROFILE}.phoneNumber"))
    code = payload.text_or_number(f"{PROFILE}.otpCode")
    channel = channel_of(payload.text(f"{PROFILE}.deliveryChannel", optional=True) or SMS)
    locale = payload.text(f"{PROFILE}.locale", optional=True) or "en"
    template = payload.text(f"{PROFILE}.msgTemplate", optional=True)

    if not phone_number:
        return undelivered("There is no phone number", f"{PROFILE}.phoneNumber")
    if not code:
        return undelivered("There is no code", f"{PROFILE}.otpCode")
    if channel is None:
        return undelivered("The channel must be SMS or voice", f"{PROFILE}.deliveryChannel")
    send = current_app.config["TELEPHONY_SEND"]
    if send is None:
        return undelivered("No provider is set up (TELEPHONY_PROVIDER)", PROFILE)
    try:
        transaction_id = send(phone_number, code, channel, locale, template)
    except ProviderFailure as failure:
        return undelivered(str(failure), PROFILE)
    delivery = {
        "status": "SUCCESSFUL",
        "provider": current_app.config["SETTINGS"].telephony_provider,
        "transactionId": transaction_id,
    }
    return answer(command("com.okta.telephony.action", [delivery]))


def with_plus(phone_number: str) -> str:
    """The number in E.164. If it was sent as a JSON number, it lacks the plus sign."""
    only_digits = phone_number.isascii() and phone_number.isdigit()
    return f"+{phone_number}" if only_digits else phone_number


def channel_of(name: str) -> str | None:
    """`SMS` or `VOICE`; None for a channel that Okta does not have."""
    return CHANNELS.get(" ".join(name.lower().replace("_", " ").split()))


def undelivered(reason: str, location: str) -> Response:
    """The answer that makes Okta fall back to its own provider."""
    log.warning("code not delivered", extra={"fields": {"reason": reason}})
    not_delivered = cause(reason, "NOT_DELIVERED", location)
    return answer(error=error("The code could not be delivered.", not_delivered))
