"""The providers that can deliver a one-time code. Call a provider like a function:

    send(phone_number, code, channel, locale, template) -> transaction ID

phone_number  in E.164, like "+14155550123"
code          as text, with its leading zeros
channel       `SMS` or `VOICE`
locale        the user's, as Okta writes it: "en", "EN-US", "pt_BR"
template      the message that Okta would send; if None, the provider uses one from `MESSAGES`

It raises `ProviderFailure` if it sends no message. Okta waits 3 seconds for the answer.
"""

# Twilio's library is optional, so it is imported only if the settings name it.
# ruff: noqa: PLC0415

import logging
import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from twilio.rest import Client

SMS = "sms"
VOICE = "voice"

TWILIO_SECONDS = 1.2
"""How long to wait for a connection to Twilio, and how long for its answer. Okta waits for 3."""

MESSAGES = {
    "en": "Your verification code is {code}.",
    "de": "Ihr Bestätigungscode lautet {code}.",
    "es": "Su código de verificación es {code}.",
    "fr": "Votre code de vérification est {code}.",
    "ja": "認証コードは {code} です。",
    "pt": "Seu código de verificação é {code}.",
}
VOICES = {
    "en": "en-US",
    "de": "de-DE",
    "es": "es-ES",
    "fr": "fr-FR",
    "ja": "ja-JP",
    "pt": "pt-BR",
}

log = logging.getLogger(__name__)

Send = Callable[[str, str, str, str, str | None], str]


class ProviderFailure(Exception):
    """No message was sent, as far as is known. The text gives the reason, but no number or code."""


def provider_of(settings: Any) -> Send | None:
    """The provider that TELEPHONY_PROVIDER names, or None."""
    if settings.telephony_provider == "twilio":
        return Twilio(
            settings.twilio_account_sid, settings.twilio_auth_token, settings.twilio_from_number
        )
    return console if settings.telephony_provider == "console" else None


def console(phone_number: str, code: str, channel: str, locale: str, template: str | None) -> str:
    """For development: log that a message would have been sent, and send none."""
    fields = {
        "to": "*" * (len(phone_number) - 2) + phone_number[-2:],
        "code": "*" * len(code),
        "channel": channel,
        "locale": locale,
    }
    log.info("message not sent, only logged", extra={"fields": fields})
    return f"console-{uuid.uuid4()}"


class Twilio:
    """Sends by Twilio (`pip install -r requirements/twilio.txt`)."""

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        from_number: str,
        api_base: str = "https://api.twilio.com",
    ):
        self._account = (account_sid, auth_token)
        self._from_number = from_number
        self._api_base = api_base
        # At more verbose levels, the library logs whole messages.
        logging.getLogger("twilio.http_client").setLevel(logging.WARNING)
        # The library imports modules on first use. Do that now, not while Okta waits.
        client = self._client()
        _ = client.messages, client.calls

    def __call__(
        self, phone_number: str, code: str, channel: str, locale: str, template: str | None
    ) -> str:
        from twilio.base.exceptions import TwilioException

        text = message_text(code, locale, template)

        client = self._client()
        addresses = {"to": phone_number, "from_": self._from_number}
        # `from None`, since the exceptions caught here quote the phone number.
        try:
            if channel == VOICE:
                sid = client.calls.create(twiml=spoken(text, code, locale), **addresses).sid
            else:
                sid = client.messages.create(body=text, **addresses).sid
        except requests.Timeout:
            raise ProviderFailure("Twilio did not answer in time") from None
        except requests.RequestException:
            raise ProviderFailure("Twilio could not be reached") from None
        except TwilioException as refusal:
            # A number, if the answer is from Twilio: https://www.twilio.com/docs/api/errors
            error = getattr(refusal, "code", None)
            number = error if isinstance(error, int) else "unknown"
            raise ProviderFailure(f"Twilio refused the message, error {number}") from None
        except Exception:
            raise ProviderFailure("Twilio's answer could not be read") from None
        if not isinstance(sid, str):
            raise ProviderFailure("Twilio's answer could not be read")
        return sid

    def _client(self) -> "Client":
        """A client for one message. It stores the last answer, so threads cannot share it."""
        from twilio.http.http_client import TwilioHttpClient
        from twilio.rest import Client

        http_client = TwilioHttpClient(pool_connections=False, timeout=TWILIO_SECONDS)
        client = Client(*self._account, http_client=http_client)
        client.api.base_url = self._api_base
        return client


def message_text(code: str, locale: str, template: str | None = None) -> str:
    """Okta's message, if it has one with the code in it, else ours in the user's language."""
    text = (template or "").replace("${code}", code)
    return text if code in text else MESSAGES[_language(locale)].format(code=code)


def spoken(text: str, code: str, locale: str) -> str:
    """TwiML that reads out the text twice, with the code digit by digit."""
    from twilio.twiml.voice_response import VoiceResponse

    text = text.replace(code, ", ".join(code))
    language = VOICES[_language(locale)]
    response = VoiceResponse()
    response.say(text, language=language)
    response.pause(length=1)
    response.say(text, language=language)
    return str(response)


def _language(locale: str) -> str:
    language = re.split("[-_]", locale)[0].lower()
    return language if language in MESSAGES else "en"
