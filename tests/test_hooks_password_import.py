import pytest
from werkzeug import security

from hooks import password_import
from hooks.sample_data import DECOY_HASH, password_hash_of
from local_okta.samples import SAMPLES
from tests.support.client import changed, refused_field, without

HOOK = "/passwordImport"
USERNAME = "data.context.credential.username"
PASSWORD = "data.context.credential.password"
PAYLOAD = SAMPLES["password-import"].payload


def verdict(client, username, password):
    response = client.post(HOOK, json=changed(PAYLOAD, {USERNAME: username, PASSWORD: password}))
    assert response.status_code == 200
    [command] = response.json["commands"]
    assert (set(response.json), command["type"]) == ({"commands"}, "com.okta.action.update")
    return command["value"]


@pytest.mark.parametrize(
    ("username", "password", "credential"),
    [
        ("jessie.smith@example.com", "password1", "VERIFIED"),
        ("kim.sato@example.com", "password2", "VERIFIED"),
        ("Rajiv.Tal@EXAMPLE.com", "password3", "VERIFIED"),
        ("jessie.smith@example.com", "password2", "UNVERIFIED"),
        ("jessie.smith@example.com", "password1\x00", "UNVERIFIED"),
        ("\N{KELVIN SIGN}im.sato@example.com", "password2", "UNVERIFIED"),
    ],
)
def test_only_the_right_password_is_verified(client, username, password, credential):
    assert verdict(client, username, password) == {"credential": credential}


def test_an_unknown_user_costs_as_much_as_a_wrong_password(client, monkeypatch):
    checked = []
    monkeypatch.setattr(
        password_import, "check_password_hash", lambda known, password: checked.append(known)
    )
    assert verdict(client, "jessie.smith@example.com", "wrong") == verdict(
        client, "ann@example.com", "wrong"
    )
    assert checked == [password_hash_of("jessie.smith@example.com"), DECOY_HASH]
    known, decoy = (password_hash.split("$") for password_hash in checked)
    assert known[0] == decoy[0] == "pbkdf2:sha256:600000"
    assert [len(part) for part in known] == [len(part) for part in decoy]


def test_the_decoy_password_is_never_verified(client, monkeypatch):
    decoy = security.generate_password_hash("decoy", "pbkdf2:sha256:1")
    monkeypatch.setattr(password_import, "DECOY_HASH", decoy)
    assert verdict(client, "ann@example.com", "decoy") == {"credential": "UNVERIFIED"}


@pytest.mark.parametrize("field", [USERNAME, PASSWORD])
def test_a_missing_or_wrong_field_is_refused_and_no_password_is_logged(client, field, caplog):
    caplog.set_level("DEBUG")
    body = changed(PAYLOAD, {PASSWORD: "correct horse"})
    for value in (None, 7, ["correct horse"]):
        response = client.post(HOOK, json=changed(body, {field: value}))
        assert refused_field(response) == ("WRONG_TYPE", field)
        assert "correct horse" not in response.text + caplog.text
    assert refused_field(client.post(HOOK, json=without(body, field))) == ("MISSING_FIELD", field)
    assert "correct horse" not in client.post(HOOK, json=body).text + caplog.text
