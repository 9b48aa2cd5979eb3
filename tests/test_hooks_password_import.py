import pytest
from werkzeug import security

from hooks import password_import
from hooks.sample_data import DECOY_HASH, password_hash_of
from tests.hook_app import changed, hook_client, refused_field, without

HOOK = "/passwordImport"
USERNAME = "data.context.credential.username"
PASSWORD = "data.context.credential.password"
CREDENTIAL = {"username": "jessie.smith@example.com", "password": "password1"}
PAYLOAD = {"data": {"context": {"credential": CREDENTIAL}, "action": {"credential": "UNVERIFIED"}}}

client = hook_client()


def verdict(username, password):
    response = client.post(HOOK, json=changed(PAYLOAD, {USERNAME: username, PASSWORD: password}))
    assert response.status_code == 200
    [command] = response.json["commands"]
    assert set(response.json) == {"commands"}
    assert command["type"] == "com.okta.action.update"
    return command["value"]


@pytest.mark.parametrize(
    ("username", "password", "credential"),
    [
        ("jessie.smith@example.com", "password1", "VERIFIED"),
        ("kim.sato@example.com", "password2", "VERIFIED"),
        ("Rajiv.Tal@EXAMPLE.com", "password3", "VERIFIED"),
        ("jessie.smith@example.com", "password2", "UNVERIFIED"),
        ("jessie.smith@example.com", "Password1", "UNVERIFIED"),
        ("jessie.smith@example.com", "", "UNVERIFIED"),
        ("jessie.smith@example.com", "password1\x00", "UNVERIFIED"),
        ("\N{KELVIN SIGN}im.sato@example.com", "password2", "UNVERIFIED"),
        ("", "password1", "UNVERIFIED"),
        ("ann@example.com", "password1", "UNVERIFIED"),
    ],
)
def test_only_the_right_password_is_verified(username, password, credential):
    assert verdict(username, password) == {"credential": credential}


def test_an_unknown_user_costs_as_much_as_a_wrong_password(monkeypatch):
    checked = []

    def check(password_hash, password):
        checked.append(password_hash)
        return security.check_password_hash(password_hash, password)

    monkeypatch.setattr(password_import, "check_password_hash", check)
    assert verdict("jessie.smith@example.com", "wrong") == verdict("ann@example.com", "wrong")
    known, unknown = (password_hash.split("$") for password_hash in checked)
    assert known[0] == unknown[0] == "pbkdf2:sha256:600000"
    assert [len(part) for part in known] == [len(part) for part in unknown]
    assert checked == [password_hash_of("jessie.smith@example.com"), DECOY_HASH]


def test_the_decoy_opens_nothing(monkeypatch):
    decoy = security.generate_password_hash("decoy", "pbkdf2:sha256:1")
    monkeypatch.setattr(password_import, "DECOY_HASH", decoy)
    assert verdict("ann@example.com", "decoy") == {"credential": "UNVERIFIED"}


@pytest.mark.parametrize("field", [USERNAME, PASSWORD])
@pytest.mark.parametrize("value", [None, 7, True, [], {}, "\ud800"])
def test_what_is_no_text_is_refused(field, value):
    response = client.post(HOOK, json=changed(PAYLOAD, {field: value}))
    assert refused_field(response) == ("WRONG_TYPE", field)


@pytest.mark.parametrize("field", [USERNAME, PASSWORD])
def test_a_missing_field_is_refused(field):
    response = client.post(HOOK, json=without(PAYLOAD, field))
    assert refused_field(response) == ("MISSING_FIELD", field)


def test_the_password_is_written_nowhere(caplog):
    caplog.set_level("DEBUG")
    for body in (
        changed(PAYLOAD, {PASSWORD: "correct horse"}),
        changed(PAYLOAD, {PASSWORD: ["correct horse"]}),
        changed(PAYLOAD, {USERNAME: None, PASSWORD: "correct horse"}),
    ):
        assert "correct horse" not in client.post(HOOK, json=body).text
    assert "correct horse" not in caplog.text
