"""The settings of event hooks: where events are stored, and how many threads handle them."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from app import create_app
from settings import Settings, SettingsError
from tests.support.gunicorn import PROJECT, app_with_commands
from tests.test_settings import OAUTH, PAIR

SECRET = "s3cr3t-of-the-database"
ON_HOST = f"postgresql+psycopg://okta:{SECRET}@host"
# A URL that cannot be used, and words of the message.
WRONG_URLS = [
    (SECRET, "must be sqlite:////full/path"),
    (f"{ON_HOST}:none/hooks", "must be sqlite:////full/path"),
    (f"postgresql://okta:p@{SECRET}@host/hooks", "must be sqlite:////full/path"),
    (f"postgresql://okta:p@x/y?{SECRET}=z@host/hooks", "must be sqlite:////full/path"),
    (f"{ON_HOST}/hooks\n?sslmode=require", "must be sqlite:////full/path"),
    (f"postgresql+psycopg2://okta:{SECRET}@host/hooks", "or postgresql+psycopg://"),
    (f"mysql://okta:{SECRET}@host/hooks", "or postgresql+psycopg://"),
    (ON_HOST, "must name one database"),
    (f"{ON_HOST}/", "must name one database"),
    (f"{ON_HOST}/hooks/more", "must name one database"),
    (f"{ON_HOST}/hooks?pool_size=5", "does not have: “pool_size”"),
    (f"{ON_HOST}/hooks?prepare_threshold=0", "does not have: “prepare_threshold”"),
    (
        f"postgresql://host/hooks?user=okta&password={SECRET}",
        "a secret among its options (password",
    ),
    (f"{ON_HOST}/hooks?sslpassword={SECRET}", "a secret among its options (sslpassword"),
    (f"{ON_HOST}/hooks?scram_client_key={SECRET}", "a secret among its options (scram_client_key"),
    ("sqlite://", "the full path of a file"),
    ("sqlite:///:memory:", "the full path of a file"),
    ("sqlite:///events.sqlite", "four slashes and without options: sqlite:////full/path"),
    (f"sqlite:///okta:{SECRET}@host/hooks", "the full path of a file"),
    ("sqlite:////usr/events.sqlite?timeout=1", "without options"),
    ("sqlite://host//usr/events.sqlite", "four slashes"),
    ("sqlite://okta@//usr/events.sqlite", "four slashes"),
    ("sqlite:////no/such/folder/events.sqlite", "does not exist: “/no/such/folder”"),
    ("sqlite:////usr", "is a folder, “/usr”"),
]


@pytest.mark.parametrize(("url", "what"), WRONG_URLS)
def test_a_database_url_that_cannot_be_used_is_named_without_its_password(problems_of, url, what):
    problems = problems_of(PAIR | {"EVENTS_DATABASE_URL": url})
    assert problems.keys() == {"EVENTS_DATABASE_URL"}
    assert what in problems["EVENTS_DATABASE_URL"]
    assert SECRET not in problems["EVENTS_DATABASE_URL"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize("sign", ["", "%40", "/", "#", "?", "%25", ":"])
def test_a_postgresql_url_is_accepted_as_platforms_write_it(load, scheme, sign):
    url = f"{scheme}://okta:{SECRET}{sign}@host:5433/hooks?sslmode=require&passfile=/run/pgpass"
    url = load(PAIR | {"EVENTS_DATABASE_URL": url}).events_database_url
    assert (url.drivername, url.host, url.port) == ("postgresql+psycopg", "host", 5433)
    assert url.password == SECRET + sign.replace("%40", "@").replace("%25", "%")
    assert (url.database, url.query["sslmode"]) == ("hooks", "require")


def test_a_postgresql_url_may_name_a_socket_or_several_hosts(load):
    for query in ("host=/run/postgresql", "host=a:5432&host=b:5432"):
        url = f"postgresql:///hooks?{query}"
        assert load(PAIR | {"EVENTS_DATABASE_URL": url}).events_database_url.database == "hooks"


def test_postgresql_without_its_driver_names_what_to_install(problems_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg.pq", None)
    problems = problems_of(PAIR | {"EVENTS_DATABASE_URL": f"{ON_HOST}/hooks"})
    assert "pip install -r requirements/postgresql.txt" in problems["EVENTS_DATABASE_URL"]


def test_no_repr_shows_the_database_password(load):
    loaded = load(PAIR | {"EVENTS_DATABASE_URL": f"{ON_HOST}/hooks"})
    url, config = loaded.events_database_url, create_app(loaded).config
    assert url.password == SECRET
    assert "@host" not in repr(loaded)
    assert SECRET not in repr(loaded) + repr(config) + str(url)


FOLDERS = ["My%20Repo", "what?now", "a b", "ü#1", "100%"]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_default_file_is_in_the_project_whatever_its_folder_is_called(tmp_path, name):
    for package in ("settings", "inbox"):
        shutil.copytree(PROJECT / package, tmp_path / name / package)
    code = (
        "from inbox.database import Database\nfrom settings import Settings\n"
        "with Database(Settings().events_database_url).begin(): pass"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / name, check=True, timeout=60)
    assert (tmp_path / name / "instance/events.sqlite").stat().st_size
    assert [folder.name for folder in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_path_with_special_characters_is_encoded_as_in_every_url(load, tmp_path, name):
    (tmp_path / name).mkdir()
    url = f"sqlite:///{quote(str(tmp_path / name / 'events.sqlite'))}"
    loaded = load(PAIR | {"EVENTS_DATABASE_URL": url})
    assert loaded.events_file == tmp_path / name / "events.sqlite"


@pytest.fixture
def old_sqlite(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")


@pytest.mark.usefixtures("old_sqlite")
def test_an_sqlite_that_is_too_old_is_named_if_it_stores_the_events(load, problems_of):
    problem = problems_of(PAIR)["EVENTS_DATABASE_URL"]
    assert "3.34.1" in problem
    assert "3.35" in problem
    assert load(PAIR | {"EVENTS_DATABASE_URL": f"{ON_HOST}/hooks"}).events_file is None
    # Without a Basic pair, no events arrive.
    assert load(OAUTH).basic_auth_password is None


@pytest.fixture
def not_allowed(monkeypatch):
    """Paths that the user may not write. Simulated, since tests may run as root."""
    paths = set()
    allowed = os.access

    def access(path, mode):
        return not (mode & os.W_OK and Path(path) in paths) and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    return paths


@pytest.mark.parametrize("what", ["the folder", "the file", "the default"])
def test_an_events_file_that_cannot_be_written_is_named(load, not_allowed, tmp_path, what):
    file, environ = tmp_path / "events.sqlite", PAIR
    if what == "the default":
        file = PROJECT / "instance/events.sqlite"
        not_allowed |= {PROJECT, file.parent}
    else:
        file.write_bytes(b"")
        environ = PAIR | {"EVENTS_DATABASE_URL": f"sqlite:///{file}"}
        not_allowed.add(file if what == "the file" else tmp_path)
    for used_by in ("server", "flask run"):
        with pytest.raises(SettingsError) as raised:
            load(environ, used_by=used_by)
        assert raised.value.problems.keys() == {"EVENTS_DATABASE_URL"}
        assert f"is {file}, which the user" in raised.value.problems["EVENTS_DATABASE_URL"]
    # A command may only read, and without a Basic pair no events arrive.
    load(environ, used_by="flask command")
    load(OAUTH)


def test_a_wrong_database_url_is_named_instead_of_a_problem_with_the_default(
    problems_of, not_allowed
):
    not_allowed |= {PROJECT, PROJECT / "instance"}
    problem = problems_of(PAIR | {"EVENTS_DATABASE_URL": "sqlite://"})["EVENTS_DATABASE_URL"]
    assert "the full path of a file" in problem


def test_the_default_file_is_noted_under_gunicorn(load, tmp_path):
    note = f"events are stored in {PROJECT}/instance/events.sqlite"
    own = {"EVENTS_DATABASE_URL": f"sqlite:///{tmp_path}/events.sqlite"}
    assert note in " ".join(load(PAIR).notes)
    for environ, used_by in ((PAIR | own, "server"), (OAUTH, "server"), (PAIR, "flask run")):
        assert "events are stored in" not in " ".join(load(environ, used_by=used_by).notes)


def test_the_doctor_says_that_this_user_cannot_store_events(not_allowed, tmp_path):
    not_allowed.add(tmp_path)
    url = sa.URL.create("sqlite", database=str(tmp_path / "events.sqlite"))

    def doctor(**more):
        app = app_with_commands(Settings(events_database_url=url, **more))
        result = app.test_cli_runner().invoke(args=["okta", "doctor"])
        return next(line for line in result.output.splitlines() if " database " in line)

    assert "WRONG  database" in doctor()
    assert f"cannot write to {tmp_path}/events.sqlite: set EVENTS_DATABASE_URL" in doctor()
    # Without a Basic pair, no events arrive.
    assert "note   database" in doctor(auth_mode="oauth", okta_issuer="http://127.0.0.1:1")
    not_allowed.clear()
    assert "note   database" in doctor()


@pytest.mark.parametrize("threads", [0, 1, 64])
def test_event_threads_are_two_unless_they_are_set_to_a_number_up_to_64(load, threads):
    assert load(PAIR).event_threads == 2
    assert load(PAIR | {"EVENT_THREADS": str(threads)}).event_threads == threads


@pytest.mark.parametrize("text", ["-1", "65", "2.5", "two"])
def test_a_wrong_number_of_threads_is_named(problems_of, text):
    assert "from 0 to 64" in problems_of(PAIR | {"EVENT_THREADS": text})["EVENT_THREADS"]
