"""Who can deliver a one-time code. A provider is one function:

    send(phone_number, code, channel, locale, template=None) -> transaction ID

phone_number  in E.164, like "+14155550123"
code          as text, with its leading zeros
channel       `SMS` or `VOICE`
locale        the user's, as Okta writes it: "en", "EN-US", "pt_BR"
template      the message that Okta would send; without one, the provider uses a text of ours

Where no message goes out it raises `ProviderFailure`. Okta waits 3 seconds for the answer.
"""

# Twilio's library is optional, so it is imported only where it is asked for.
# ruff: noqa: PLC0415

import logging
import re
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Thread

import requests

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


class ProviderFailure(Exception):
    """No message went out, as far as is known. The text says why, without phone number or code."""


def provider_of(settings) -> Callable[..., str] | None:
    """The provider that TELEPHONY_PROVIDER names, None without one."""
    if settings.telephony_provider == "twilio":
        account = (settings.twilio_account_sid, settings.twilio_auth_token)
        return twilio_sender(*account, settings.twilio_from_number)
    return console if settings.telephony_provider == "console" else None


def console(
    phone_number: str, code: str, channel: str, locale: str, template: str | None = None
) -> str:
    """For development: says that a message would have gone out. Nobody gets one."""
    fields = {
        "to": "*" * (len(phone_number) - 2) + phone_number[-2:],
        "code": "*" * len(code),
        "channel": channel,
        "locale": locale,
    }
    log.info("message not sent, only noted here", extra={"fields": fields})
    return f"console-{uuid.uuid4()}"


def twilio_sender(
    account_sid: str, auth_token: str, from_number: str, api_base: str = "https://api.twilio.com"
) -> Callable[..., str]:
    """A provider that sends by Twilio (`pip install -r requirements/twilio.txt`)."""
    from twilio.base.exceptions import TwilioException
    from twilio.http import HttpClient
    from twilio.http.response import Response
    from twilio.rest import Client

    session = requests.Session()

    class Http(HttpClient):
        """Threads may share it: the SDK's own keeps the last answer on itself. Nor does it log."""

        def request(self, method, uri, **options):
            options |= {"timeout": TWILIO_SECONDS, "allow_redirects": False}
            answer = session.request(method, uri, **options)
            return Response(answer.status_code, answer.text, answer.headers)

    client = Client(account_sid, auth_token, http_client=Http(log, is_async=False))
    client.api.base_url = api_base
    # Asked for now, since the SDK imports the modules behind them only then.
    messages, calls = client.messages, client.calls

    def send(phone_number, code, channel, locale, template=None):
        text = message_text(code, locale, template)

        def hand_over():
            if channel == VOICE:
                twiml = spoken(text, code, locale)
                return calls.create(to=phone_number, from_=from_number, twiml=twiml).sid
            return messages.create(to=phone_number, from_=from_number, body=text).sid

        # `from None`, as the exceptions caught here quote the phone number.
        try:
            sid = within(TWILIO_SECONDS, hand_over)
        except (FutureTimeout, requests.Timeout):
            raise ProviderFailure("Twilio did not answer in time") from None
        except requests.RequestException:
            raise ProviderFailure("Twilio could not be reached") from None
        except TwilioException as refusal:
            # A number, if it is Twilio that answers: https://www.twilio.com/docs/api/errors
            error = getattr(refusal, "code", None)
            number = error if isinstance(error, int) else "unknown"
            raise ProviderFailure(f"Twilio refused the message, error {number}") from None
        except Exception:
            sid = None
        if not isinstance(sid, str):
            raise ProviderFailure("Twilio's answer could not be read")
        return sid

    return send


def message_text(code: str, locale: str, template: str | None = None) -> str:
    """Okta's message if it sends one that has the code in it, else ours in the user's language."""
    text = (template or "").replace("${code}", code)
    return text if code in text else MESSAGES[_language(locale)].format(code=code)


def spoken(text: str, code: str, locale: str) -> str:
    """TwiML that says the text twice and reads the code digit by digit."""
    from twilio.twiml.voice_response import VoiceResponse

    text = text.replace(code, ", ".join(code))
    language = VOICES[_language(locale)]
    response = VoiceResponse()
    response.say(text, language=language)
    response.pause(length=1)
    response.say(text, language=language)
    return str(response)


def within(seconds: float, function: Callable[[], str]) -> str:
    """What the function returns or raises; `FutureTimeout` after so many seconds.

    A socket's timeout starts again at each byte, so a slow answer could hold up a request for long.
    The thread that waits for it is left behind. As a daemon it does not hold up a shutdown.
    """
    future = Future()

    def run():
        try:
            future.set_result(function())
        except Exception as exc:
            future.set_exception(exc)

    Thread(target=run, daemon=True).start()
    return future.result(timeout=seconds)


def _language(locale: str) -> str:
    language = re.split("[-_]", locale)[0].lower()
    return language if language in MESSAGES else "en"
