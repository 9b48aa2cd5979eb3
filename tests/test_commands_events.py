"""`flask events …`, what the doctor says about events, and where events are stored."""

import contextlib
import re
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from inbox.database import Database
from inbox.inbox import Inbox
from settings import Settings, SettingsError
from tests.support.events import EVENT_TYPE, an_event
from tests.support.gunicorn import PROJECT, app_with_commands

SECRET = "s3cr3t-of-the-database"


@pytest.fixture
def database(sqlite_url):
    with contextlib.closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def inbox(database):
    """With one waiting event and two failed ones."""
    inbox = Inbox(database)
    inbox.store({uuid: an_event(uuid) for uuid in ("fail-1", "fail-2")})
    for _ in range(2):
        inbox.set_aside(inbox.claim(), "KeyError at handlers.py:1")
    inbox.store({"wait-1": an_event("wait-1")})
    return inbox


def runner(url, **settings):
    """A function that runs a command, and returns its exit status and its output."""
    app = app_with_commands(Settings(events_database_url=url, **settings))
    runner = app.test_cli_runner()

    def run(*words, **options):
        result = runner.invoke(args=words, **options)
        assert "ann@example.com" not in result.output
        return result.exit_code, result.output

    return run


def an_hour_ago(database):
    return Inbox(database, lambda: time.time() - 3600)


@pytest.fixture
def flask(sqlite_url):
    return runner(sqlite_url)


def test_list_says_what_waits_and_what_has_failed(inbox, flask):
    inbox.show_worker("worker", 2, 0)
    inbox.store({"wait-2": an_event("wait-2")})
    inbox.claim()
    status, output = flask("events", "list")
    assert re.fullmatch(
        r"waiting      2      the oldest for \d+ s\n"
        r"in hand      1      the longest for \d+ s\n"
        r"failed       2      which: flask events list --failed\n"
        r"worker seen  \d+ s ago\n",
        output,
    )
    assert status == 0
    lines = (f"fail-{n}  {EVENT_TYPE}  1 attempt  KeyError at handlers.py:1\n" for n in (1, 2))
    assert flask("events", "list", "--failed") == (0, "".join(lines))


def test_list_fails_if_events_wait_and_nothing_handles_them(inbox, database, flask):
    def worker():
        status, output = flask("events", "list")
        return status, output.splitlines()[-1]

    assert worker() == (1, "worker seen  never, and events are waiting")
    an_hour_ago(database).show_worker("worker", 2, 0)
    assert worker() == (1, "worker seen  60 min ago, and events are waiting")
    inbox.show_worker("worker", 2, 2)
    status, line = worker()
    assert (status, "ago, but every handler is hanging in 1 of the processes" in line) == (1, True)
    inbox.show_worker("worker", 2, 1)
    assert worker()[0] == 0


def test_list_names_the_types_without_a_handler(inbox, flask):
    inbox.store({"other": {"eventType": "zone.update"}})
    assert "\nno handler   1      zone.update\n" in flask("events", "list")[1]
    assert "note   no handler           1 of types without" in flask("okta", "doctor")[1]


def test_list_says_that_nothing_has_failed(inbox, flask):
    inbox.retry()
    message = "No event has failed permanently. Waiting to be tried again: 2.\n"
    assert flask("events", "list", "--failed") == (0, message)
    assert "\nretrying     2      after an attempt that failed" in flask("events", "list")[1]


def test_retry_needs_one_uuid_or_all(inbox, flask):
    assert flask("events", "retry", "fail-2") == (0, "1 will be tried again.\n")
    status, output = flask("events", "retry", "fail-2")
    assert (status, "fail-2 is not a failed event" in output) == (1, True)
    for words in ((), ("fail-1", "--all")):
        status, output = flask("events", "retry", *words)
        assert (status, "Give one UUID, or --all." in output) == (2, True)
    assert flask("events", "retry", "--all") == (0, "1 will be tried again.\n")
    assert (inbox.backlog().waiting, inbox.backlog().failed) == (3, 0)


def test_remove_asks_for_confirmation(inbox, flask):
    assert flask("events", "remove", "fail-1", input="n\n")[0] == 1
    assert inbox.backlog().failed == 2
    status, output = flask("events", "remove", "fail-1", input="y\n")
    assert (status, output.endswith("Removed.\n")) == (0, True)
    assert flask("events", "remove", "fail-2", "--yes") == (0, "Removed.\n")
    assert inbox.backlog().failed == 0
    status, output = flask("events", "remove", "fail-2", "--yes")
    assert (status, "fail-2 is not a waiting or failed event." in output) == (1, True)


def test_commands_that_only_read_create_no_file(flask, tmp_path):
    for words in (["events", "list"], ["events", "retry", "--all"], ["okta", "doctor"]):
        assert "Nothing has been stored yet" in flask(*words)[1]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["list", "work"])
def test_wrong_settings_end_a_command_with_their_message(command):
    app = app_with_commands(Settings())
    app.config["SETTINGS_ERROR"] = SettingsError({"OKTA_ISSUER": "is not set"})
    result = app.test_cli_runner().invoke(args=["events", command])
    assert result.exit_code == 1
    assert "OKTA_ISSUER  is not set" in result.output


def test_an_unusable_database_is_reported_in_one_line(sqlite_url, tmp_path):
    (tmp_path / "events.sqlite").write_text("no database, and longer than a header" * 10)
    unreachable = sa.make_url(f"postgresql+psycopg://okta:{SECRET}@127.0.0.1:1/hooks")
    for url in (sqlite_url, unreachable):
        flask = runner(url)
        status, output = flask("events", "list")
        assert status == 1
        assert re.fullmatch(r"Error: The database cannot be used: \w+.*\n", output)
        doctor = flask("okta", "doctor")[1]
        assert "WRONG  database" in doctor
        assert SECRET not in output + doctor


def test_the_doctor_reports_backlog_and_worker(inbox, database, flask):
    def worker():
        return re.search(r"^.*  worker .*$", flask("okta", "doctor")[1], re.MULTILINE)[0]

    inbox.store({"wait-2": an_event("wait-2")})
    inbox.claim()
    output = flask("okta", "doctor")[1]
    assert re.search(r"ok     waiting +2, the oldest for \d+ s\n", output)
    assert re.search(r"ok     in hand +1, the longest for \d+ s\n", output)
    assert re.search(r"note   failed +2: flask events list --failed\n", output)
    assert re.search(r"WRONG  worker +never seen: the service handles", worker())
    an_hour_ago(database).show_worker("worker", 2, 0)
    assert re.search(r"WRONG  worker +last seen 60 min ago: the service handles", worker())
    inbox.show_worker("worker", 2, 2)
    assert re.search(r"WRONG  worker +every handler has hung for minutes", worker())
    inbox.show_worker("worker", 2, 0)
    assert re.search(r"ok     worker +last seen \d+ s ago$", worker())
    for uuid in ("wait-1", "wait-2"):
        inbox.remove(uuid)
    an_hour_ago(database).show_worker("worker", 2, 0)
    assert re.search(r"note   worker +last seen 60 min ago$", worker())


def test_the_doctor_names_the_command_if_the_service_handles_no_events(inbox, sqlite_url):
    flask = runner(sqlite_url, event_threads=0)
    assert "EVENT_THREADS is 0, so flask events work handles" in flask("okta", "doctor")[1]


def test_the_commands_import_neither_local_okta_nor_tools():
    code = (
        "import sys, commands.doctor, commands.events; "
        "print([name for name in sys.modules if name.startswith(('local_okta', 'tools'))])"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, text=True)
    assert printed == "[]\n"


def test_only_the_owner_can_read_the_file_and_commits_reach_the_disk(tmp_path):
    url = sa.URL.create("sqlite", database=f"{tmp_path}/folder/events.sqlite")
    with (
        contextlib.closing(Database(url)) as database,
        database.begin() as connection,
    ):
        # EXTRA: a power cut does not undo a commit.
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "folder").rglob("*")] == [0o600]
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
