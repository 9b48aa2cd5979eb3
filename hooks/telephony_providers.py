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
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from twilio.rest import Client

SMS = "sms"
VOICE = "voice"

TWILIO_SECONDS = 2
"""How long Twilio may take to accept a message, connecting included."""

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
        account = (settings.twilio_account_sid, settings.twilio_auth_token)
        return Twilio(*account, settings.twilio_from_number)
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

        def hand_over() -> str:
            client = self._client()
            addresses = {"to": phone_number, "from_": self._from_number}
            if channel == VOICE:
                return client.calls.create(twiml=spoken(text, code, locale), **addresses).sid
            return client.messages.create(body=text, **addresses).sid

        # `from None`, since the exceptions caught here quote the phone number.
        try:
            sid = within(TWILIO_SECONDS, hand_over)
        except (TimeoutError, requests.Timeout):
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


def within(seconds: float, function: Callable[[], str]) -> str:
    """Return or raise what the function does, or raise TimeoutError after this many seconds.

    A socket's timeout restarts at each byte, so a slow answer could delay a request for long. After
    a timeout the thread goes on. It is a daemon thread, so it does not delay a shutdown.
    """
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except Exception as exc:
            future.set_exception(exc)

    Thread(target=run, daemon=True).start()
    return future.result(timeout=seconds)


def _language(locale: str) -> str:
    language = re.split("[-_]", locale)[0].lower()
    return language if language in MESSAGES else "en"
