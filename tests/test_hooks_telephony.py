import base64
import itertools
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

import settings
from hooks import telephony_providers
from hooks.telephony_providers import (
    MESSAGES,
    SMS,
    VOICE,
    VOICES,
    ProviderFailure,
    console,
    message_text,
    spoken,
    twilio_sender,
)
from tests.hook_app import changed, hook_client, refused_field, without

HOOK = "/telephonyHook"
PROFILE = "data.messageProfile"
PHONE_NUMBER = f"{PROFILE}.phoneNumber"
CODE = f"{PROFILE}.otpCode"
CHANNEL = f"{PROFILE}.deliveryChannel"
LOCALE = f"{PROFILE}.locale"
TEMPLATE = f"{PROFILE}.msgTemplate"

ACCOUNT_SID = "AC" + "0" * 32
AUTH_TOKEN = "the auth token of the tests"
FROM_NUMBER = "+15005550006"
PAYLOAD = {
    "data": {
        "messageProfile": {
            "msgTemplate": "Your code is ${code}",
            "phoneNumber": "+14155550123",
            "deliveryChannel": "SMS",
            "otpCode": "012345",
            "locale": "en",
        }
    }
}


@pytest.fixture
def sent():
    return []


@pytest.fixture
def client(sent):
    """A client of an app whose provider notes what it is asked to send."""

    def send(*message):
        sent.append(message)
        return "transaction-1"

    return hook_client(TELEPHONY_SEND=send, TELEPHONY_PROVIDER="test")


def undelivered(response):
    """Summary and location of the one cause of an answer that says no code went out."""
    assert response.status_code == 200
    assert set(response.json) == {"error"}
    [cause] = response.json["error"]["errorCauses"]
    assert cause["reason"] == "NOT_DELIVERED"
    return cause["errorSummary"], cause["location"]


def test_a_code_is_delivered(client, sent):
    response = client.post(HOOK, json=PAYLOAD)
    assert response.status_code == 200
    delivery = {"status": "SUCCESSFUL", "provider": "test", "transactionId": "transaction-1"}
    assert response.json == {
        "commands": [{"type": "com.okta.telephony.action", "value": [delivery]}]
    }
    assert sent == [("+14155550123", "012345", SMS, "en", "Your code is ${code}")]


@pytest.mark.parametrize(
    ("fields", "index", "value"),
    [
        ({PHONE_NUMBER: 14155550123}, 0, "+14155550123"),
        ({PHONE_NUMBER: 14155550123.0}, 0, "+14155550123"),
        ({PHONE_NUMBER: "14155550123"}, 0, "+14155550123"),
        ({PHONE_NUMBER: "+1 415 555-0123"}, 0, "+1 415 555-0123"),
        ({PHONE_NUMBER: "١٤١٥"}, 0, "١٤١٥"),
        ({CODE: 12345}, 1, "12345"),
        ({CHANNEL: "sms"}, 2, SMS),
        ({CHANNEL: None}, 2, SMS),
        ({CHANNEL: "voice"}, 2, VOICE),
        ({CHANNEL: "VOICE"}, 2, VOICE),
        ({CHANNEL: "Call"}, 2, VOICE),
        ({LOCALE: "EN-US"}, 3, "EN-US"),
        ({LOCALE: None}, 3, "en"),
        ({TEMPLATE: None}, 4, None),
    ],
)
def test_what_the_provider_gets(client, sent, fields, index, value):
    assert client.post(HOOK, json=changed(PAYLOAD, fields)).status_code == 200
    assert sent[0][index] == value


def test_only_number_and_code_are_needed(client, sent):
    response = client.post(HOOK, json=without(PAYLOAD, CHANNEL, LOCALE, TEMPLATE))
    assert response.json["commands"][0]["value"][0]["status"] == "SUCCESSFUL"
    assert sent == [("+14155550123", "012345", SMS, "en", None)]


@pytest.mark.parametrize(
    ("fields", "location"),
    [({CHANNEL: "fax"}, CHANNEL), ({PHONE_NUMBER: ""}, PHONE_NUMBER), ({CODE: ""}, CODE)],
)
def test_what_cannot_be_delivered_is_not_tried(client, sent, fields, location):
    assert undelivered(client.post(HOOK, json=changed(PAYLOAD, fields)))[1] == location
    assert sent == []


@pytest.mark.parametrize("path", [PHONE_NUMBER, CODE])
def test_a_request_without_number_or_code_is_refused(client, path):
    assert refused_field(client.post(HOOK, json=without(PAYLOAD, path))) == ("MISSING_FIELD", path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (PROFILE, None),
        *itertools.product([PHONE_NUMBER, CODE], [None, True, [], {}, "\ud800"]),
        *itertools.product([CHANNEL, LOCALE, TEMPLATE], [1, False, [], {}, "\ud800"]),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(client, path, value):
    response = client.post(HOOK, json=changed(PAYLOAD, {path: value}))
    assert refused_field(response) == ("WRONG_TYPE", path)


def test_without_a_provider_the_answer_says_so():
    client = hook_client(TELEPHONY_SEND=None, TELEPHONY_PROVIDER=None)
    summary, _ = undelivered(client.post(HOOK, json=PAYLOAD))
    assert "TELEPHONY_PROVIDER" in summary


def test_a_failure_is_an_error_with_its_reason(caplog):
    def send(*message):
        raise ProviderFailure("the exchange is closed")

    client = hook_client(TELEPHONY_SEND=send)
    assert undelivered(client.post(HOOK, json=PAYLOAD)) == ("the exchange is closed", PROFILE)
    [record] = caplog.records
    assert record.fields == {"reason": "the exchange is closed"}


def test_the_console_shows_neither_number_nor_code(caplog):
    caplog.set_level("INFO", "okta_hooks")
    first, second = (console("+14155550123", "987654", SMS, "en", "Hi") for _ in range(2))
    assert first != second
    assert caplog.records[0].fields == {
        "to": "**********23",
        "code": "******",
        "channel": "sms",
        "locale": "en",
    }


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Code 01234!", "Code 01234!"),
        ("Code ${code}!", "Code 01234!"),
        *((other, "Your verification code is 01234.") for other in (None, "", "Hi!", "${otp}")),
    ],
)
def test_okta_s_message_is_sent_if_it_has_the_code(template, text):
    assert message_text("01234", "en", template) == text


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de", "de"), ("pt_BR", "pt"), ("ES-mx", "es"), ("ja-JP", "ja"), ("fr", "fr")]
    + [(other, "en") for other in ("EN-US", "sw", "", "-", "english")],
)
def test_our_message_is_in_the_user_s_language(locale, language):
    assert message_text("7", locale) == MESSAGES[language].format(code="7")
    assert MESSAGES.keys() == VOICES.keys()


def test_a_voice_reads_digits_one_by_one_and_twice():
    response = ElementTree.fromstring(spoken("Der <Code>: 0123", "0123", "de_AT"))
    assert [element.tag for element in response] == ["Say", "Pause", "Say"]
    for say in response.findall("Say"):
        assert say.text == "Der <Code>: 0, 1, 2, 3"
        assert say.get("language") == "de-DE"


class Twilio(ThreadingHTTPServer):
    """Twilio's Messages and Calls resources, as far as a sender needs them.

    `behaviour` is `accept`, `refuse`, `stall`, `trickle`, or the body of a nonsense answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), TwilioHandler)
        self.behaviour = "accept"
        self.calls = []
        self.released = threading.Event()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that hangs up early is what some tests are about."""


class TwilioHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        fields = {name: value for name, [value] in form.items()}
        self.server.calls.append((self.path, fields))
        pair = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {pair}":
            self.answer(401, {"code": 20003, "message": "Authenticate", "status": 401})
        elif self.server.behaviour == "accept":
            prefix = "SM" if self.path.endswith("/Messages.json") else "CA"
            self.answer(201, {"sid": prefix + "1" * 32, "status": "queued"})
        elif self.server.behaviour == "refuse":
            message = f"The 'To' number {fields['To']} is not a valid phone number."
            self.answer(400, {"code": 21211, "message": message, "status": 400})
        elif self.server.behaviour == "stall":
            self.server.released.wait(10)
        elif self.server.behaviour == "trickle":
            self.send_response(201)
            self.send_header("Content-Length", "10000")
            self.end_headers()
            for _ in range(200):
                if self.server.released.wait(0.05):
                    break
                self.wfile.write(b" ")
        else:
            status, body = self.server.behaviour
            self.answer(status, body)

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 307:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """The tests look at `calls` instead."""


@pytest.fixture
def twilio():
    with Twilio() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.released.set()
        server.shutdown()


def twilio_client(server, auth_token=AUTH_TOKEN):
    send = twilio_sender(ACCOUNT_SID, auth_token, FROM_NUMBER, api_base=server.base)
    return hook_client(TELEPHONY_SEND=send, TELEPHONY_PROVIDER="twilio")


class TestTwilio:
    def test_sms(self, twilio):
        response = twilio_client(twilio).post(HOOK, json=PAYLOAD)
        [delivery] = response.json["commands"][0]["value"]
        assert delivery == {
            "status": "SUCCESSFUL",
            "provider": "twilio",
            "transactionId": "SM" + "1" * 32,
        }
        assert twilio.calls == [
            (
                f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json",
                {"To": "+14155550123", "From": FROM_NUMBER, "Body": "Your code is 012345"},
            )
        ]

    def test_voice(self, twilio):
        body = changed(PAYLOAD, {CHANNEL: "voice", TEMPLATE: None, LOCALE: "fr"})
        response = twilio_client(twilio).post(HOOK, json=body)
        [delivery] = response.json["commands"][0]["value"]
        assert delivery["transactionId"] == "CA" + "1" * 32
        [(path, fields)] = twilio.calls
        assert path == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Calls.json"
        assert (fields["To"], fields["From"]) == ("+14155550123", FROM_NUMBER)
        say = ElementTree.fromstring(fields["Twiml"]).find("Say")
        assert say.text == "Votre code de vérification est 0, 1, 2, 3, 4, 5."
        assert say.get("language") == "fr-FR"

    def test_a_refusal_gives_twilio_s_number_and_not_its_words(self, twilio, caplog):
        twilio.behaviour = "refuse"
        caplog.set_level("DEBUG")
        response = twilio_client(twilio).post(HOOK, json=PAYLOAD)
        assert undelivered(response) == ("Twilio refused the message, error 21211", PROFILE)
        for secret in ("4155550123", "012345", AUTH_TOKEN):
            assert secret not in response.text
            assert secret not in caplog.text

    def test_wrong_credentials(self, twilio):
        response = twilio_client(twilio, auth_token="another").post(HOOK, json=PAYLOAD)
        assert undelivered(response)[0] == "Twilio refused the message, error 20003"

    @pytest.mark.parametrize("behaviour", ["stall", "trickle"])
    def test_a_slow_answer_is_not_waited_for(self, twilio, behaviour, monkeypatch):
        # Okta waits for 3 seconds, this test for less, and the server for its end.
        assert telephony_providers.TWILIO_SECONDS <= 2
        monkeypatch.setattr(telephony_providers, "TWILIO_SECONDS", 0.3)
        twilio.behaviour = behaviour
        client = twilio_client(twilio)
        summary, _ = undelivered(client.post(HOOK, json=PAYLOAD))
        assert summary == "Twilio did not answer in time"
        assert len(twilio.calls) == 1

        monkeypatch.undo()
        twilio.behaviour = "accept"
        assert "commands" in client.post(HOOK, json=PAYLOAD).json

    def test_nobody_there(self, twilio):
        client = twilio_client(twilio)
        twilio.shutdown()
        twilio.server_close()
        summary, _ = undelivered(client.post(HOOK, json=PAYLOAD))
        assert summary == "Twilio could not be reached"

    @pytest.mark.parametrize(
        ("behaviour", "summary"),
        [
            *(
                ((201, body), "Twilio's answer could not be read")
                for body in (b"<html>", b"", b"\xff\xfe", [], {}, {"sid": None}, {"sid": 7})
            ),
            ((500, b"oops"), "Twilio refused the message, error 500"),
            ((307, b""), "Twilio refused the message, error 307"),
            (
                (400, {"code": "+14155550123", "message": "x"}),
                "Twilio refused the message, error unknown",
            ),
            (
                (400, {"type": "t", "title": "+1415", "status": 400, "code": 21610}),
                "Twilio refused the message, error 21610",
            ),
        ],
    )
    def test_nonsense_and_refusals_in_another_shape(self, twilio, behaviour, summary):
        twilio.behaviour = behaviour
        response = twilio_client(twilio).post(HOOK, json=PAYLOAD)
        assert undelivered(response)[0] == summary


SETTINGS = {
    "BASIC_AUTH_USER": "okta",
    "BASIC_AUTH_PASSWORD": "correct horse battery staple",
    "TELEPHONY_PROVIDER": "twilio",
    "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
    "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
    "TWILIO_FROM_NUMBER": FROM_NUMBER,
}


class TestSettings:
    @pytest.fixture
    def load(self, tmp_path):
        return partial(settings.load, dotenv_path=tmp_path / ".env")

    @pytest.mark.parametrize(
        ("name", "value", "what"),
        [
            ("TELEPHONY_PROVIDER", "sns", "console or twilio"),
            ("TWILIO_AUTH_TOKEN", "", "is not set"),
            ("TWILIO_AUTH_TOKEN", "{sho rt}", "placeholder"),
        ],
    )
    def test_a_wrong_one_is_named_and_its_value_not_shown(self, load, name, value, what):
        with pytest.raises(settings.SettingsError) as raised:
            load(SETTINGS | {name: value})
        assert what in raised.value.problems[name]
        assert "sho rt" not in str(raised.value)

    @pytest.mark.parametrize(("development", "provider"), [(False, None), (True, "console")])
    def test_only_development_has_a_provider_by_itself(self, load, development, provider):
        environ = SETTINGS | {"TELEPHONY_PROVIDER": "", "FLASK_SKIP_DOTENV": "1"}
        loaded = load(environ, development=development)
        assert loaded.telephony_provider == provider
        assert ("TELEPHONY_PROVIDER" in " ".join(loaded.notes)) is (provider is None)

    def test_twilio_s_token_is_not_in_the_repr(self, load):
        assert AUTH_TOKEN not in repr(load(SETTINGS))
