"""What the environment and .env may contain, and the mistakes that stop the service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from settings import PARSERS, SettingsError, load_settings
from tests.support.gunicorn import PROJECT, environment

PAIR = {"BASIC_AUTH_USER": "okta", "BASIC_AUTH_PASSWORD": "s3cret of ours"}
PUBLISHED = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}
ISSUER = "https://example.okta.com/oauth2/default"
OAUTH = {
    "AUTH_MODE": "oauth",
    "OKTA_ISSUER": ISSUER,
    "OKTA_CLIENT_ID": "0oa1",
    "OKTA_SCOPE": "hooks",
}


def test_defaults(load):
    loaded = load(PAIR)
    assert (loaded.auth_mode, loaded.okta_audience) == ("basic", "api://default")
    assert loaded.registration_allowed_domains == {"okta.com"}
    assert loaded.max_content_length == 1048576
    assert (loaded.log_level, loaded.log_format) == ("INFO", "text")


def test_the_environment_wins_over_dotenv(load):
    loaded = load(PAIR, "BASIC_AUTH_USER=other\nLOG_LEVEL=debug\n")
    assert (loaded.basic_auth_user, loaded.log_level) == ("okta", "DEBUG")


def test_an_empty_value_in_the_environment_means_not_set_whatever_dotenv_says(load):
    assert load(PAIR | {"LOG_LEVEL": ""}, "LOG_LEVEL=debug\n").log_level == "INFO"


def test_oauth_settings(load):
    loaded = load(OAUTH | {"OKTA_CLIENT_ID": "0oa1, 0oa2", "OKTA_AUDIENCE": "api://hooks"})
    assert (loaded.okta_issuer, loaded.okta_audience) == (ISSUER, "api://hooks")
    assert (loaded.okta_client_id, loaded.okta_scope) == ({"0oa1", "0oa2"}, "hooks")
    assert loaded.basic_auth_password is None


def test_the_guides_names_count_only_in_dotenv(load, problems_of):
    dotenv = "USER=guide\nPASSWORD=from the guide\n"
    loaded = load({"USER": "root"}, dotenv)
    assert (loaded.basic_auth_user, loaded.basic_auth_password) == ("guide", "from the guide")
    assert load(PAIR, dotenv).basic_auth_user == "okta"
    empty = "BASIC_AUTH_USER=\nBASIC_AUTH_PASSWORD=\n"
    assert load({}, empty + dotenv).basic_auth_user == "guide"
    copied = {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASSWORD": ""}
    assert load(copied, empty + dotenv).basic_auth_user == "guide"
    problems = problems_of({"USER": "root", "PASSWORD": "login password"})
    assert set(problems) == {"BASIC_AUTH_USER", "BASIC_AUTH_PASSWORD"}


def test_a_guide_name_can_be_combined_with_the_other_setting(load, problems_of):
    loaded = load({"BASIC_AUTH_PASSWORD": "ours"}, "USER=guide\nPASSWORD=supersecret\n")
    assert (loaded.basic_auth_user, loaded.basic_auth_password) == ("guide", "ours")
    problems = problems_of({}, "USER=a:b\nPASSWORD=supersecret\n")
    assert "colon" in problems["BASIC_AUTH_USER"]
    assert "Okta's guide" in problems["BASIC_AUTH_PASSWORD"]


def test_a_byte_order_mark_before_the_first_name_does_no_harm(load):
    assert load(PAIR, "\ufeffLOG_LEVEL=debug\n").log_level == "DEBUG"


def test_a_password_in_dotenv_is_taken_literally(load):
    dotenv = "BASIC_AUTH_USER=okta\nBASIC_AUTH_PASSWORD={}\n"
    loaded = load({"HOME": "home"}, dotenv.format("pa$$ $HOME#1"))
    assert loaded.basic_auth_password == "pa$$ $HOME#1"
    assert load({}, dotenv.format("'abc #def'")).basic_auth_password == "abc #def"
    assert load({}, dotenv.format('"a=b #c"  # a note')).basic_auth_password == "a=b #c"
    environ = PAIR | {"BASIC_AUTH_PASSWORD": "pa${X}ss"}
    assert load(environ).basic_auth_password == "pa${X}ss"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_http_is_accepted_on_loopback(load, host):
    issuer = f"http://{host}:8010/oauth2/default"
    assert load(OAUTH | {"OKTA_ISSUER": issuer}).okta_issuer == issuer


def test_all_mistakes_are_reported_together(problems_of):
    environ = {"AUTH_MODE": "oauth2", "MAX_CONTENT_LENGTH": "1MB", "LOG_LEVEL": "loud"}
    expected = {"AUTH_MODE", "MAX_CONTENT_LENGTH", "LOG_LEVEL", "BASIC_AUTH_USER", ".env, line 1"}
    assert expected <= set(problems_of(environ, "OKTA_SCOPE: hooks"))


ISSUERS = [
    ("", "Issuer URI"),
    ("https://{yourOktaDomain}/oauth2/default", "placeholder"),
    ("https://yourOktaDomain/oauth2/default", "placeholder"),
    ("https://example-admin.okta.com/oauth2/default", "without -admin"),
    (ISSUER.replace("https", "http"), "use https"),
    ("http://localhost.example.com/oauth2/default", "use https"),
    (ISSUER.removeprefix("https://"), "such as https://"),
    ("ftp://example.okta.com/oauth2/default", "such as https://"),
    ("https:///oauth2/default", "such as https://"),
    (f"{ISSUER}/", "slash"),
    (f"{ISSUER}?a=b", "a query"),
    (f"{ISSUER}#a", "a fragment"),
    ("https://user:word@example.okta.com/oauth2/default", "a user"),
    ("https://[::1", "Issuer URI"),
    ("https://example.okta.com:port/oauth2/default", "Issuer URI"),
    ("https://example.okta.com:65536/oauth2/default", "Issuer URI"),
    (f"{ISSUER}/v1/token", f"the issuer is “{ISSUER}”"),
    (f"{ISSUER}/v1", f"the issuer is “{ISSUER}”"),
    ("https://example.okta.com/oauth2/v1/token", "the issuer is “https://example.okta.com”"),
    (f"{ISSUER}/.well-known/openid-configuration", f"the issuer is “{ISSUER}”"),
]
# The right settings, the name of the wrong one, its text, and words of the message.
WRONG = [
    (PAIR, "AUTH_MODE", "digest", "basic or oauth"),
    (PAIR, "LOG_LEVEL", "loud", "can only be DEBUG, INFO, WARNING or ERROR"),
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
    (PAIR, "MAX_CONTENT_LENGTH", "0", "a whole number from 1 to 1073741824"),
    (PAIR, "MAX_CONTENT_LENGTH", "1MB", "a whole number"),
]


@pytest.mark.parametrize(("right", "name", "text", "what"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_wrong(problems_of, right, name, text, what):
    assert what in problems_of(right | {name: text})[name]


QUOTED = ['"{}"', "'{}'", "“{}”", "„{}“", "„{}”", "”{}”", "‘{}’", "‚{}‘", "«{}»", "»{}«", ' "{}" ']


@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize("name", ["BASIC_AUTH_PASSWORD", "OKTA_AUDIENCE", "OKTA_SCOPE"])
def test_a_value_that_is_still_in_quotation_marks_is_refused(problems_of, name, quoted):
    assert "quotation mark" in problems_of(PAIR | OAUTH | {name: quoted.format("value")})[name]


def test_an_empty_value_in_quotation_marks_is_refused(problems_of):
    assert "quotation mark" in problems_of(PAIR | {"OKTA_AUDIENCE": '""'})["OKTA_AUDIENCE"]


@pytest.mark.parametrize("password", ['"', "it's all there is'", "'one\"", "in “the” middle"])
def test_a_quotation_mark_that_is_part_of_a_password_is_kept(load, password):
    environ = PAIR | {"BASIC_AUTH_PASSWORD": password}
    assert load(environ).basic_auth_password == password


MISSING = [
    ({"BASIC_AUTH_USER": "okta"}, "BASIC_AUTH_PASSWORD", "is not set"),
    (OAUTH | {"BASIC_AUTH_PASSWORD": "secret"}, "BASIC_AUTH_USER", "is not set"),
    (OAUTH | {"BASIC_AUTH_PASSWORD_PREVIOUS": "old"}, "BASIC_AUTH_PASSWORD", "is not set"),
    (OAUTH | {"OKTA_CLIENT_ID": "", "OKTA_SCOPE": ""}, "OKTA_CLIENT_ID", "any token"),
]


@pytest.mark.parametrize(("environ", "name", "what"), MISSING)
def test_a_missing_setting_is_named(problems_of, environ, name, what):
    assert what in problems_of(environ)[name]


# A name that is close to a setting of the guard, and words of the message.
MISSPELT = [
    (PAIR, "AUTHMODE", "did you mean AUTH_MODE?"),
    (PAIR, "auth_mode", "did you mean AUTH_MODE?"),
    (OAUTH, "BASIC_AUTH_PASWORD", "did you mean BASIC_AUTH_PASSWORD?"),
    (OAUTH, "basic_auth_user", "did you mean BASIC_AUTH_USER?"),
    (OAUTH, "OKTA_AUDIENCES", "did you mean OKTA_AUDIENCE?"),
    (OAUTH | {"OKTA_SCOPE": ""}, "OKTA_SCOPES", "did you mean OKTA_SCOPE?"),
    (OAUTH | {"OKTA_SCOPE": ""}, "okta_scope", "did you mean OKTA_SCOPE?"),
    (OAUTH | {"OKTA_CLIENT_ID": ""}, "OKTA-CLIENT-ID", "did you mean OKTA_CLIENT_ID?"),
    (OAUTH | {"OKTA_CLIENT_ID": ""}, "OKTA_CLIENT", "did you mean OKTA_CLIENT_ID?"),
]


@pytest.mark.parametrize(("right", "name", "what"), MISSPELT)
def test_a_misspelt_name_that_would_weaken_the_guard_is_refused(problems_of, right, name, what):
    assert what in problems_of(right | {name: "value"})[name]
    assert what in problems_of(right, f"{name}=value")[name]


@pytest.mark.parametrize("name", ["LOGLEVEL", "log_level", "OKTA_SCOPES", "MAX_CONTENT_LENGHT"])
def test_a_similar_name_that_weakens_nothing_is_only_noted(load, name):
    basic = PAIR | {"AUTH_MODE": "basic"}
    for loaded in (load(basic | {name: "value"}), load(basic, f"{name}=value")):
        assert ".env has names" not in " ".join(loaded.notes)
        assert f"{name} is not a setting of this service: " in " ".join(loaded.notes)


@pytest.mark.parametrize("name", ["OKTA_SCOPES", "okta_scope", "AUTHMODE"])
def test_a_similar_name_beside_the_right_one_is_noted_if_it_is_in_dotenv(load, name):
    assert name not in " ".join(load(OAUTH | {name: "value"}).notes)
    # What is in .env is meant for this service.
    assert f"{name} is not a setting" in " ".join(load(OAUTH, f"{name}=value").notes)


OTHERS = "HTTPS_PROXY=http://proxy:3128\nFLASK_DEBUG=1\nPGPASSWORD=pgs3cret\nLOG_LEVEL=debug\n"


def test_names_in_dotenv_that_only_flask_puts_into_the_environment_are_noted(load):
    notes = " ".join(load(PAIR, OTHERS).notes)
    assert ": FLASK_DEBUG, HTTPS_PROXY, PGPASSWORD. flask puts" in notes
    assert "pgs3cret" not in notes


def test_a_name_in_dotenv_that_is_also_in_the_environment_is_not_noted(load):
    assert "HTTPS_PROXY" not in " ".join(load(PAIR | {"HTTPS_PROXY": ""}, OTHERS).notes)


def test_a_line_of_a_private_key_in_dotenv_is_named_only_by_its_number(load, problems_of):
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
    notes = " ".join(load(PAIR, f"{line}=\nVJTUt9/Us8cKj==\n").notes)
    assert line not in notes
    assert "VJTUt9" not in notes
    assert set(problems_of(PAIR, f"LOG_LEVEL=debug\n{line}\n")) == {".env, line 2"}


WRONG_LINES = [
    ("OKTA_SCOPE: hooks", ".env, line 1", "NAME=value"),
    ("\n# a comment\n\nOKTA_SCOPE", ".env, line 4", "NAME=value"),
    ('OKTA_CLIENT_ID="0oa1" "0oa2"', ".env, line 1", "NAME=value"),
    ("BASIC_AUTH_PASSWORD='pa${X}ss'", "BASIC_AUTH_PASSWORD", "variables are not replaced"),
    ("BASIC_AUTH_PASSWORD=abc #def", "BASIC_AUTH_PASSWORD", "single quotes"),
    ("export BASIC_AUTH_PASSWORD = abc #def", "BASIC_AUTH_PASSWORD", "single quotes"),
    ("AUTH_MODE=oauth\nAUTH_MODE=basic", "AUTH_MODE", "twice"),
]


@pytest.mark.parametrize(("line", "name", "what"), WRONG_LINES)
def test_a_line_of_dotenv_that_does_not_mean_what_it_says_is_named(problems_of, line, name, what):
    assert what in problems_of({}, line)[name]


def unreadable(path: Path, monkeypatch) -> None:
    """Root may read everything, so the system's refusal is simulated."""
    path.write_text("BASIC_AUTH_PASSWORD=value")

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)


DOTENVS = {
    "by the user that runs the service: Permission denied": unreadable,
    "is a folder": lambda path, _: path.mkdir(),
    "UTF-8 (see byte 6)": lambda path, _: path.write_bytes(b"USER=\xff\xfe"),
    "Too many levels of symbolic links": lambda path, _: path.symlink_to(path),
}


@pytest.mark.parametrize("cause", DOTENVS)
def test_a_dotenv_that_cannot_be_read_is_the_only_problem_named(tmp_path, monkeypatch, cause):
    path = tmp_path / ".env"
    DOTENVS[cause](path, monkeypatch)
    # The default, which .env may replace, is not checked either.
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(SettingsError) as raised:
        load_settings({"AUTH_MODE": "oauth"}, path)
    # Everything else that is needed may be in there.
    assert set(raised.value.problems) == {".env"}
    assert cause in raised.value.problems[".env"]


def test_a_wrong_setting_is_named_beside_a_dotenv_that_cannot_be_read(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError) as raised:
        load_settings({"LOG_LEVEL": "loud"}, tmp_path / ".env")
    assert set(raised.value.problems) == {".env", "LOG_LEVEL"}


@pytest.mark.parametrize("used_by", ["flask run", "flask command"])
def test_flask_tolerates_the_published_pair_with_a_note(load, used_by):
    loaded = load(PUBLISHED, used_by=used_by)
    assert "BASIC_AUTH_PASSWORD is printed in Okta's guide" in " ".join(loaded.notes)


NOTES = [
    (PAIR | {"BASIC_AUTH_PASSWORD": "elevenchars"}, "fewer than 12 characters"),
    (PAIR | {"BASIC_AUTH_PASSWORD_PREVIOUS": "the old one"}, "is still accepted"),
    (OAUTH, "event hooks are off"),
    (OAUTH | {"OKTA_CLIENT_ID": ""}, "only OKTA_SCOPE decides"),
    (OAUTH | {"OKTA_SCOPE": ""}, "only OKTA_CLIENT_ID decides"),
    (OAUTH | {"OKTA_ISSUER": "http://127.0.0.1:8010/oauth2/default"}, "without TLS"),
    (OAUTH | {"OKTA_ISSUER": "https://example.okta.com"}, "the org's own server"),
    (OAUTH | {"OKTA_ISSUER": "https://example.okta.com/oauth2"}, "not a custom authorization"),
    (PAIR | {"OKTA_ISSUER": ISSUER}, "AUTH_MODE is not set, so it is basic"),
]


@pytest.mark.parametrize(("environ", "note"), NOTES, ids=[note for _, note in NOTES])
def test_questionable_settings_are_noted(load, environ, note):
    assert note in " ".join(load(environ).notes)


def test_good_settings_cause_no_note(load, tmp_path):
    own = {
        "TELEPHONY_PROVIDER": "console",
        "EVENTS_DATABASE_URL": f"sqlite:///{tmp_path}/events.sqlite",
    }
    assert load(PAIR | OAUTH | own).notes == ()
    assert load(OAUTH | own, "USER=okta\nPASSWORD=correct horse\n").notes == ()


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


def run(*command: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=PROJECT,
        env=environment(environ) | {"FLASK_SKIP_DOTENV": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["settings", "flask run --port 0", "flask okta doctor"])
def test_a_command_that_needs_settings_ends_with_one_plain_message(command):
    wrong = {"AUTH_MODE": "oauth", "OKTA_ISSUER": "https://{yourOktaDomain}/oauth2/default"}
    done = run(*command.split(), **wrong)
    assert done.returncode != 0
    assert done.stderr.count("OKTA_ISSUER") == 1
    assert "OKTA_CLIENT_ID" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_settings_prints_the_notes(tmp_path):
    own = {"EVENTS_DATABASE_URL": f"sqlite:///{tmp_path}/events.sqlite"}
    done = run("settings", **PAIR, **own, BASIC_AUTH_PASSWORD_PREVIOUS="the old one")
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: BASIC_AUTH_PASSWORD_PREVIOUS is still accepted" in done.stdout


def test_the_doctor_reports_the_published_password_itself(tmp_path):
    own = {"EVENTS_DATABASE_URL": f"sqlite:///{tmp_path}/events.sqlite"}
    done = run("flask", "okta", "doctor", **PUBLISHED, **own)
    assert done.returncode == 1
    assert "WRONG  BASIC_AUTH_PASSWORD  is the one printed in Okta's guide" in done.stdout


def test_the_example_names_every_setting():
    example = (PROJECT / ".env.example").read_text()
    assert [name for name in PARSERS if f"{name}=" not in example] == []


def test_a_note_is_printed_even_if_the_terminal_lacks_its_characters():
    settings = PAIR | {"OKTA_SCOPÉ": "hooks", "PYTHONIOENCODING": "ascii"}
    printed = subprocess.check_output(
        [sys.executable, "-m", "settings"], cwd=PROJECT, env=environment(settings), text=True
    )
    assert r"note: OKTA_SCOP\xc9 is not a setting of this service" in printed


@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_a_file_in_another_folder_that_flask_has_read_is_noted(tmp_path, monkeypatch, name):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("FLASK_SKIP_DOTENV", raising=False)
    (tmp_path / name).write_text("")

    def notes(used_by="flask run"):
        return " ".join(load_settings(PAIR, project / ".env", used_by=used_by).notes)

    assert f"flask has read {tmp_path / name}, which is in another folder" in notes()
    # gunicorn reads no such file.
    assert "flask has" not in notes("server")
    # The commands print it themselves.
    assert "flask has" not in notes("flask command")
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    assert "flask has" not in notes()
    monkeypatch.delenv("FLASK_SKIP_DOTENV")
    (project / name).write_text("")
    assert "flask has" not in notes()
