"""What the environment and .env say, and every slip that is caught before the service starts."""

import os
import subprocess
import sys

import pytest

import settings
from settings import SettingsError
from tests.service import PROJECT, environment

PAIR = {"BASIC_AUTH_USER": "okta", "BASIC_AUTH_PASSWORD": "s3cret of ours"}
ISSUER = "https://example.okta.com/oauth2/default"
OAUTH = {
    "AUTH_MODE": "oauth",
    "OKTA_ISSUER": ISSUER,
    "OKTA_CLIENT_ID": "0oa1",
    "OKTA_SCOPE": "hooks",
}


@pytest.fixture
def load(tmp_path):
    """Loads settings from an environment and the text of an .env file."""

    def load(environ, dotenv="", **arguments):
        path = tmp_path / ".env"
        path.write_text(dotenv)
        return settings.load(environ, path, **arguments)

    return load


def problems_of(load, environ, dotenv=""):
    with pytest.raises(SettingsError) as raised:
        load(environ, dotenv)
    return dict(raised.value.problems)


def test_defaults(load):
    loaded = load(PAIR)
    assert loaded.auth_mode == "basic"
    assert loaded.okta_audience == "api://default"
    assert loaded.registration_allowed_domains == {"okta.com"}
    assert loaded.max_content_length == 1048576
    assert loaded.telephony_provider is None
    assert (loaded.log_level, loaded.log_format) == ("INFO", "text")


def test_the_environment_wins_over_dotenv(load):
    loaded = load(PAIR, "BASIC_AUTH_USER=other\nLOG_LEVEL=debug\n")
    assert loaded.basic_auth_user == "okta"
    assert loaded.log_level == "DEBUG"


def test_oauth_settings(load):
    loaded = load(OAUTH | {"OKTA_CLIENT_ID": "0oa1, 0oa2", "OKTA_AUDIENCE": "api://hooks"})
    assert loaded.okta_issuer == ISSUER
    assert loaded.okta_client_ids == {"0oa1", "0oa2"}
    assert loaded.okta_scope == "hooks"
    assert loaded.okta_audience == "api://hooks"
    assert not loaded.has_basic_pair


def test_the_guides_names_count_in_dotenv(load):
    loaded = load({"USER": "root"}, "USER=guide\nPASSWORD=from the guide\n")
    assert (loaded.basic_auth_user, loaded.basic_auth_password) == ("guide", "from the guide")


def test_the_guides_names_do_not_count_in_the_environment(load):
    problems = problems_of(load, {"USER": "root", "PASSWORD": "login password"})
    assert set(problems) == {"BASIC_AUTH_USER", "BASIC_AUTH_PASSWORD"}


def test_our_names_win_over_the_guides(load):
    loaded = load(PAIR, "USER=guide\nPASSWORD=from the guide\n")
    assert loaded.basic_auth_user == "okta"


def test_all_mistakes_are_reported_together(load):
    environ = {"AUTH_MODE": "oauth2", "MAX_CONTENT_LENGTH": "1MB", "LOG_LEVEL": "loud"}
    assert {"AUTH_MODE", "MAX_CONTENT_LENGTH", "LOG_LEVEL"} <= set(problems_of(load, environ))


WRONG = {
    "unknown mode": (PAIR | {"AUTH_MODE": "digest"}, "AUTH_MODE", "basic or oauth"),
    "no password": ({"BASIC_AUTH_USER": "okta"}, "BASIC_AUTH_PASSWORD", "is not set"),
    "empty password": (PAIR | {"BASIC_AUTH_PASSWORD": ""}, "BASIC_AUTH_PASSWORD", "is empty"),
    "placeholder user": (PAIR | {"BASIC_AUTH_USER": "{user}"}, "BASIC_AUTH_USER", "placeholder"),
    "colon in the user": (PAIR | {"BASIC_AUTH_USER": "a:b"}, "BASIC_AUTH_USER", "colon"),
    "newline after the password": (
        PAIR | {"BASIC_AUTH_PASSWORD": "secret\n"},
        "BASIC_AUTH_PASSWORD",
        "white space",
    ),
    "password without user in oauth": (
        OAUTH | {"BASIC_AUTH_PASSWORD": "secret"},
        "BASIC_AUTH_USER",
        "is not set",
    ),
    "previous password alone": (
        OAUTH | {"BASIC_AUTH_PASSWORD_PREVIOUS": "old"},
        "BASIC_AUTH_PASSWORD_PREVIOUS",
        "no BASIC_AUTH_PASSWORD",
    ),
    "no issuer": (OAUTH | {"OKTA_ISSUER": ""}, "OKTA_ISSUER", "Issuer URI"),
    "placeholder issuer": (
        OAUTH | {"OKTA_ISSUER": "https://{yourOktaDomain}/oauth2/default"},
        "OKTA_ISSUER",
        "placeholder",
    ),
    "placeholder without braces": (
        OAUTH | {"OKTA_ISSUER": "https://yourOktaDomain/oauth2/default"},
        "OKTA_ISSUER",
        "placeholder",
    ),
    "admin domain": (
        OAUTH | {"OKTA_ISSUER": "https://example-admin.okta.com/oauth2/default"},
        "OKTA_ISSUER",
        "without -admin",
    ),
    "http issuer": (
        OAUTH | {"OKTA_ISSUER": ISSUER.replace("https", "http")},
        "OKTA_ISSUER",
        "https",
    ),
    "issuer without scheme": (OAUTH | {"OKTA_ISSUER": ISSUER[8:]}, "OKTA_ISSUER", "https://"),
    "issuer with a slash": (OAUTH | {"OKTA_ISSUER": ISSUER + "/"}, "OKTA_ISSUER", "slash"),
    "issuer with a query": (OAUTH | {"OKTA_ISSUER": ISSUER + "?a=b"}, "OKTA_ISSUER", "query"),
    "issuer that is no URL": (OAUTH | {"OKTA_ISSUER": "https://[::1"}, "OKTA_ISSUER", "no URL"),
    "issuer of a loopback look-alike": (
        OAUTH | {"OKTA_ISSUER": "http://localhost.example.com/oauth2/default"},
        "OKTA_ISSUER",
        "https",
    ),
    "placeholder client": (
        OAUTH | {"OKTA_CLIENT_ID": "{clientId}"},
        "OKTA_CLIENT_ID",
        "placeholder",
    ),
    "placeholder in a list": (
        OAUTH | {"OKTA_CLIENT_ID": "0oa1,{clientId}"},
        "OKTA_CLIENT_ID",
        "in its list",
    ),
    "two scopes": (OAUTH | {"OKTA_SCOPE": "hooks more"}, "OKTA_SCOPE", "space"),
    "neither client nor scope": (
        OAUTH | {"OKTA_CLIENT_ID": "", "OKTA_SCOPE": ""},
        "OKTA_CLIENT_ID",
        "any token",
    ),
    "a list of nothing": (
        OAUTH | {"OKTA_CLIENT_ID": ","},
        "OKTA_CLIENT_ID",
        "list of nothing",
    ),
    "a blank client": (OAUTH | {"OKTA_CLIENT_ID": " "}, "OKTA_CLIENT_ID", "blank"),
    "a blank scope": (OAUTH | {"OKTA_SCOPE": " "}, "OKTA_SCOPE", "blank"),
    "a misspelt scope": (
        {name: value for name, value in OAUTH.items() if name != "OKTA_SCOPE"}
        | {"OKTA_SCOPES": "hooks"},
        "OKTA_SCOPES",
        "is OKTA_SCOPE meant?",
    ),
    "an address for a domain": (
        PAIR | {"REGISTRATION_ALLOWED_DOMAINS": "a@okta.com"},
        "REGISTRATION_ALLOWED_DOMAINS",
        "without @",
    ),
    "no domain": (
        PAIR | {"REGISTRATION_ALLOWED_DOMAINS": ", ,"},
        "REGISTRATION_ALLOWED_DOMAINS",
        "names no domain",
    ),
    "no bytes": (PAIR | {"MAX_CONTENT_LENGTH": "0"}, "MAX_CONTENT_LENGTH", "number of bytes"),
    "negative bytes": (PAIR | {"MAX_CONTENT_LENGTH": "-1"}, "MAX_CONTENT_LENGTH", "number"),
    "unknown provider": (PAIR | {"TELEPHONY_PROVIDER": "sns"}, "TELEPHONY_PROVIDER", "twilio"),
    "twilio without its values": (
        PAIR | {"TELEPHONY_PROVIDER": "twilio"},
        "TWILIO_AUTH_TOKEN",
        "is not set",
    ),
    "the published pair": (
        {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"},
        "BASIC_AUTH_PASSWORD",
        "Okta's guide",
    ),
    "the published password of another user": (
        PAIR | {"BASIC_AUTH_PASSWORD": "supersecret"},
        "BASIC_AUTH_PASSWORD",
        "Okta's guide",
    ),
    "the published password as the previous one": (
        PAIR | {"BASIC_AUTH_PASSWORD_PREVIOUS": "supersecret"},
        "BASIC_AUTH_PASSWORD_PREVIOUS",
        "Okta's guide",
    ),
    "a placeholder as the previous password": (
        PAIR | {"BASIC_AUTH_PASSWORD_PREVIOUS": "{previousPassword}"},
        "BASIC_AUTH_PASSWORD_PREVIOUS",
        "placeholder",
    ),
}


@pytest.mark.parametrize(("environ", "name", "what"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named_with_what_is_wrong(load, environ, name, what):
    assert what in problems_of(load, environ)[name]


@pytest.mark.parametrize("line", ["OKTA_SCOPE: hooks", 'OKTA_CLIENT_ID="0oa1" "0oa2"'])
def test_a_line_of_dotenv_that_cannot_be_read_is_named(load, line):
    """Left out, it could be the one that says who may call."""
    restricted_by = {"OKTA_CLIENT_ID": "0oa1"} if "SCOPE" in line else {"OKTA_SCOPE": "hooks"}
    dotenv = f"AUTH_MODE=oauth\nOKTA_ISSUER={ISSUER}\n\n# who may call\n{line}\n"
    assert "NAME=value" in problems_of(load, restricted_by, dotenv)[".env, line 5"]


def test_a_password_in_dotenv_is_taken_as_it_stands_there(load):
    loaded = load({"HOME": "home"}, "BASIC_AUTH_USER=okta\nBASIC_AUTH_PASSWORD=pa$$ $HOME#1\n")
    assert loaded.basic_auth_password == "pa$$ $HOME#1"


def test_a_variable_in_dotenv_is_refused(load):
    """`flask run` and gunicorn would not take it for the same."""
    problems = problems_of(load, {}, "BASIC_AUTH_USER=okta\nBASIC_AUTH_PASSWORD='pa${X}ss'\n")
    assert "knows no variables" in problems["BASIC_AUTH_PASSWORD"]
    loaded = load({"BASIC_AUTH_USER": "okta", "BASIC_AUTH_PASSWORD": "pa${X}ss"})
    assert loaded.basic_auth_password == "pa${X}ss"


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ("OKTA_CLIENT_ID", "OKTA_SCOPE alone decides"),
        ("OKTA_SCOPE", "OKTA_CLIENT_ID alone decides"),
    ],
)
def test_it_is_noted_when_one_thing_alone_decides_who_may_call(load, missing, note):
    assert note not in str(load(OAUTH).notes)
    assert note in str(load(OAUTH | {missing: ""}).notes)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_http_is_for_loopback(load, host):
    issuer = f"http://{host}:8010/oauth2/default"
    assert load(OAUTH | {"OKTA_ISSUER": issuer}).okta_issuer == issuer


def test_development_tolerates_the_published_pair_and_has_a_console_provider(load):
    environ = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}
    loaded = load(environ, development=True)
    assert loaded.uses_published_password
    assert loaded.telephony_provider == "console"


def test_a_dotenv_that_is_no_text_is_a_plain_error(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        settings.load(PAIR, tmp_path / ".env")


def test_no_message_and_no_repr_shows_a_secret(load):
    secret = "pa ss\x07word"
    with pytest.raises(SettingsError) as raised:
        load(PAIR | {"BASIC_AUTH_PASSWORD": secret, "TWILIO_AUTH_TOKEN": "short"})
    assert "pa ss" not in str(raised.value)
    assert PAIR["BASIC_AUTH_PASSWORD"] not in repr(load(PAIR))


COMMANDS = {
    "gunicorn": [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0"],
    "flask run": [sys.executable, "-m", "flask", "run", "--port", "0"],
    "flask okta": [sys.executable, "-m", "flask", "okta", "auth-secret"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_ends_with_one_plain_message(command):
    """Both mistakes, no traceback, a status that says no."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment({"AUTH_MODE": "oauth", "OKTA_ISSUER": "https://{yourOktaDomain}/oauth2/x"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count("OKTA_ISSUER") == 1
    assert "placeholder" in done.stderr
    assert "OKTA_CLIENT_ID" in done.stderr
    assert "Traceback" not in done.stderr


def test_gunicorn_refuses_the_published_pair_and_flask_run_does_not_start_with_none():
    pair = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}
    done = subprocess.run(
        COMMANDS["gunicorn"],
        cwd=PROJECT,
        env=environment(pair),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Okta's guide" in done.stderr


def test_the_example_names_every_setting():
    example = (PROJECT / ".env.example").read_text()
    names = [name for name in environment({}) if name not in os.environ or name == "AUTH_MODE"]
    missing = [name for name in names if f"{name}=" not in example]
    assert names
    assert not missing
