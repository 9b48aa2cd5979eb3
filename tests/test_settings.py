"""What the environment and .env say, and every slip that is caught before the service starts."""

import subprocess
import sys

import pytest

import settings
from settings import PARSERS, SettingsError
from tests.support.gunicorn import PROJECT, environment

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


@pytest.fixture
def problems_of(load):
    def problems_of(environ, dotenv=""):
        with pytest.raises(SettingsError) as raised:
            load(environ, dotenv)
        return raised.value.problems

    return problems_of


def test_defaults(load):
    loaded = load(PAIR)
    assert (loaded.auth_mode, loaded.okta_audience) == ("basic", "api://default")
    assert (loaded.max_content_length, loaded.event_threads) == (1048576, 2)
    assert (loaded.log_level, loaded.log_format) == ("INFO", "text")


def test_the_environment_wins_over_dotenv(load):
    loaded = load(PAIR, "BASIC_AUTH_USER=other\nLOG_LEVEL=debug\n")
    assert (loaded.basic_auth_user, loaded.log_level) == ("okta", "DEBUG")


def test_oauth_settings(load):
    loaded = load(OAUTH | {"OKTA_CLIENT_ID": "0oa1, 0oa2", "OKTA_AUDIENCE": "api://hooks"})
    assert (loaded.okta_issuer, loaded.okta_audience) == (ISSUER, "api://hooks")
    assert (loaded.okta_client_id, loaded.okta_scope) == ({"0oa1", "0oa2"}, "hooks")
    assert loaded.basic_auth_password is None


def test_the_guides_names_count_in_dotenv_alone(load, problems_of):
    dotenv = "USER=guide\nPASSWORD=from the guide\n"
    loaded = load({"USER": "root"}, dotenv)
    assert (loaded.basic_auth_user, loaded.basic_auth_password) == ("guide", "from the guide")
    assert load(PAIR, dotenv).basic_auth_user == "okta"
    problems = problems_of({"USER": "root", "PASSWORD": "login password"})
    assert set(problems) == {"BASIC_AUTH_USER", "BASIC_AUTH_PASSWORD"}


def test_all_mistakes_are_reported_together(problems_of):
    environ = {"AUTH_MODE": "oauth2", "MAX_CONTENT_LENGTH": "1MB", "LOG_LEVEL": "loud"}
    assert {"AUTH_MODE", "MAX_CONTENT_LENGTH", "LOG_LEVEL"} <= set(problems_of(environ))


ISSUERS = [
    ("", "Issuer URI"),
    ("https://{yourOktaDomain}/oauth2/default", "placeholder"),
    ("https://yourOktaDomain/oauth2/default", "placeholder"),
    ("https://example-admin.okta.com/oauth2/default", "without -admin"),
    (ISSUER.replace("https", "http"), "https is needed"),
    ("http://localhost.example.com/oauth2/default", "https is needed"),
    (ISSUER.removeprefix("https://"), "https://"),
    (f"{ISSUER}/", "slash"),
    (f"{ISSUER}?a=b", "a query"),
    (f"{ISSUER}#a", "a fragment"),
    ("https://user:word@example.okta.com/oauth2/default", "a user"),
    ("https://[::1", "Issuer URI"),
    ("https://example.okta.com:port/oauth2/default", "Issuer URI"),
    (f"{ISSUER}/v1/token", f"the issuer is “{ISSUER}”"),
    (f"{ISSUER}/v1", f"the issuer is “{ISSUER}”"),
    ("https://example.okta.com/oauth2/v1/token", "the issuer is “https://example.okta.com”"),
    (f"{ISSUER}/.well-known/openid-configuration", f"the issuer is “{ISSUER}”"),
]
# What is right, the setting that is not, its text, and what is said of it.
WRONG = [
    (PAIR, "AUTH_MODE", "digest", "basic or oauth"),
    (PAIR, "BASIC_AUTH_PASSWORD", "", "empty"),
    (PAIR, "BASIC_AUTH_USER", "{user}", "placeholder"),
    (PAIR, "BASIC_AUTH_USER", "a:b", "colon"),
    (PAIR, "BASIC_AUTH_PASSWORD", "secret\n", "white space"),
    (PAIR, "BASIC_AUTH_PASSWORD", "s3cret of ours ", "white space"),
    (PAIR, "BASIC_AUTH_PASSWORD_PREVIOUS", "<o>", "placeholder"),
    (PAIR, "BASIC_AUTH_PASSWORD", "supersecret", "Okta's guide"),
    (PAIR, "BASIC_AUTH_PASSWORD_PREVIOUS", "supersecret", "Okta's guide"),
    *((OAUTH, "OKTA_ISSUER", text, what) for text, what in ISSUERS),
    (OAUTH, "OKTA_CLIENT_ID", "0oa1,{clientId}", "placeholder"),
    (OAUTH, "OKTA_CLIENT_ID", ",", "empty list"),
    (OAUTH, "OKTA_SCOPE", " ", "blank"),
    (OAUTH, "OKTA_SCOPE", "hooks more", "space"),
    (PAIR, "OKTA_SCOPES", "hooks", "is OKTA_SCOPE meant?"),
    (OAUTH, "okta_scope", "hooks", "in capitals, OKTA_SCOPE"),
    (PAIR, "auth_mode", "oauth", "in capitals, AUTH_MODE"),
    (PAIR, "OKTA-CLIENT-ID", "0oa1", "in capitals, OKTA_CLIENT_ID"),
    (PAIR, "MAX_CONTENT_LENGTH", "0", "number of bytes"),
    *((PAIR, "EVENT_THREADS", text, "from 0 to 64") for text in ("-1", "65", "2.5", "two")),
]


@pytest.mark.parametrize(("right", "name", "text", "what"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_wrong(problems_of, right, name, text, what):
    assert what in problems_of(right | {name: text})[name]


MISSING = [
    ({"BASIC_AUTH_USER": "okta"}, "BASIC_AUTH_PASSWORD", "is not set"),
    (OAUTH | {"BASIC_AUTH_PASSWORD": "secret"}, "BASIC_AUTH_USER", "is not set"),
    (OAUTH | {"BASIC_AUTH_PASSWORD_PREVIOUS": "old"}, "BASIC_AUTH_PASSWORD", "is not set"),
    (OAUTH | {"OKTA_CLIENT_ID": "", "OKTA_SCOPE": ""}, "OKTA_CLIENT_ID", "any token"),
]


@pytest.mark.parametrize(("environ", "name", "what"), MISSING)
def test_a_missing_setting_is_named(problems_of, environ, name, what):
    assert what in problems_of(environ)[name]


WRONG_LINES = [
    ("OKTA_SCOPE: hooks", ".env, line 1", "NAME=value"),
    ('OKTA_CLIENT_ID="0oa1" "0oa2"', ".env, line 1", "NAME=value"),
    ("BASIC_AUTH_PASSWORD='pa${X}ss'", "BASIC_AUTH_PASSWORD", "no variables"),
    ("BASIC_AUTH_PASSWORD=abc #def", "BASIC_AUTH_PASSWORD", "single quotes"),
    ("AUTH_MODE=oauth\nAUTH_MODE=basic", "AUTH_MODE", "twice"),
    ("auth_mode=oauth", "auth_mode", "capitals"),
    ("user=okta", "user", "capitals"),
]


@pytest.mark.parametrize(("line", "name", "what"), WRONG_LINES)
def test_a_line_of_dotenv_that_would_not_mean_what_it_says_is_named(problems_of, line, name, what):
    assert what in problems_of({}, line)[name]


def test_a_password_in_dotenv_is_taken_as_it_stands_there(load):
    dotenv = "BASIC_AUTH_USER=okta\nBASIC_AUTH_PASSWORD={}\n"
    loaded = load({"HOME": "home"}, dotenv.format("pa$$ $HOME#1"))
    assert loaded.basic_auth_password == "pa$$ $HOME#1"
    assert load({}, dotenv.format("'abc #def'")).basic_auth_password == "abc #def"
    environ = PAIR | {"BASIC_AUTH_PASSWORD": "pa${X}ss"}
    assert load(environ).basic_auth_password == "pa${X}ss"


NOTES = [
    (PAIR | {"BASIC_AUTH_PASSWORD": "elevenchars"}, "fewer than 12 characters"),
    (PAIR | {"BASIC_AUTH_PASSWORD_PREVIOUS": "the old one"}, "is still accepted"),
    (OAUTH, "event hooks are off"),
    (OAUTH | {"OKTA_CLIENT_ID": ""}, "OKTA_SCOPE alone decides"),
    (OAUTH | {"OKTA_SCOPE": ""}, "OKTA_CLIENT_ID alone decides"),
    (OAUTH | {"OKTA_ISSUER": "http://127.0.0.1:8010/oauth2/default"}, "without TLS"),
    (OAUTH | {"OKTA_ISSUER": "https://example.okta.com"}, "the org's own server"),
    (OAUTH | {"OKTA_ISSUER": "https://example.okta.com/oauth2"}, "not a custom server's"),
    (PAIR | {"OKTA_ISSUER": ISSUER}, "AUTH_MODE is not set, so it is basic"),
]


@pytest.mark.parametrize(("environ", "note"), NOTES, ids=[note for _, note in NOTES])
def test_what_is_worth_a_note_is_noted(load, environ, note):
    assert note in " ".join(load(environ).notes)


def test_there_is_no_note_without_a_reason(load):
    assert load(PAIR | OAUTH | {"TELEPHONY_PROVIDER": "console"}).notes == ()


@pytest.mark.parametrize("threads", [0, 1, 64])
def test_event_threads_are_between_0_and_64(load, threads):
    assert load(PAIR | {"EVENT_THREADS": str(threads)}).event_threads == threads


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_http_is_for_loopback(load, host):
    issuer = f"http://{host}:8010/oauth2/default"
    assert load(OAUTH | {"OKTA_ISSUER": issuer}).okta_issuer == issuer


def test_development_tolerates_the_published_pair(load, monkeypatch):
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    environ = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}
    loaded = load(environ | {"FLASK_SKIP_DOTENV": "1"}, development=True)
    assert "Okta's guide" in " ".join(loaded.notes)


@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_a_file_of_another_folder_that_flask_has_read_is_named(load, tmp_path, monkeypatch, name):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    (tmp_path / name).write_text("")
    with pytest.raises(SettingsError, match=rf"{tmp_path}/\{name} .*belongs to another folder"):
        settings.load(PAIR, project / ".env", development=True)
    (project / name).write_text("")
    settings.load(PAIR, project / ".env", development=True)


def test_a_dotenv_that_is_not_text_is_a_plain_error(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        settings.load(PAIR, tmp_path / ".env")


def test_no_message_and_no_repr_shows_a_secret(load):
    with pytest.raises(SettingsError) as raised:
        load(PAIR | {"BASIC_AUTH_PASSWORD": "pa ss\x07word"})
    assert "pa ss" not in str(raised.value)
    loaded = repr(load(PAIR | {"BASIC_AUTH_PASSWORD_PREVIOUS": "the old one"}))
    for secret in (PAIR["BASIC_AUTH_PASSWORD"], "the old one"):
        assert secret not in loaded


def test_the_message_names_the_command_that_makes_a_dotenv(load):
    with pytest.raises(SettingsError, match="flask okta new-env"):
        load({})


@pytest.mark.parametrize("command", ["run --port 0", "okta doctor", "events list"])
def test_a_command_that_needs_settings_ends_with_one_plain_message(command):
    wrong = {"AUTH_MODE": "oauth", "OKTA_ISSUER": "https://{yourOktaDomain}/oauth2/default"}
    done = subprocess.run(
        [sys.executable, "-m", "flask", *command.split()],
        cwd=PROJECT,
        env=environment(wrong),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count("OKTA_ISSUER") == 1
    assert "OKTA_CLIENT_ID" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_names_every_setting():
    example = (PROJECT / ".env.example").read_text()
    assert [name for name in PARSERS if f"{name}=" not in example] == []
