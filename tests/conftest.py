import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app import create_app
from local_okta.authorization_server import LocalOkta
from settings import SettingsError, load_settings
from tests.support.client import hook_client
from tests.support.gunicorn import PROJECT, basic_settings
from tests.support.leftovers import leftovers

# Fixtures: an org for the tests of `flask okta register`, databases for those of stored events.
pytest_plugins = ["tests.support.org", "tests.support.postgresql"]

# These take the longest. Each file runs in one process, so that its tests share what they start.
FIRST = (
    "test_inbox_service",
    "test_register",
    "test_service",
    "test_key_service_faults",
    "test_register_client",
    "test_inbox_postgresql",
    "test_inbox_database_postgresql",
    "test_inbox_worker",
    "test_inbox_intake",
    "test_examples",
)

# Without a handler, Python would write the warnings of threads that outlive the tests to stderr.
logging.getLogger().addHandler(logging.NullHandler())


def pytest_configure(config):
    """Name what is left of a removed hook, or a changed rule, instead of the failures it causes."""
    if left := leftovers(PROJECT):
        lines = "\n".join(f"  {each}" for each in left)
        raise pytest.UsageError(
            "hooks, samples, tests and pages do not match "
            f"(docs/write-a-hook.md, docs/remove-a-hook.md):\n{lines}"
        )
    # Once, and not in each process of the run. An app that is made here would set up the log.
    if not hasattr(config, "workerinput"):
        command = [sys.executable, "-m", "tests.support.samples"]
        done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
        if wrong := done.stdout.splitlines():
            lines = "\n".join(f"  {each}" for each in wrong)
            raise pytest.UsageError(
                f"change the sample or what local_okta/samples/__init__.py expects of it:\n{lines}"
            )


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


@pytest.fixture(autouse=True)
def log_of_the_test():
    """Remove an app's log with its test: a thread that outlives it must find no closed stream."""
    yield
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if each.get_name() != "logs"]


@pytest.fixture
def app(tmp_path):
    """The whole service, which accepts BASIC_PAIR."""
    own = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{tmp_path}/events.sqlite")
    return create_app(load_settings(own, Path(os.devnull)))


@pytest.fixture
def load(tmp_path):
    """Loads settings from an environment and the text of an .env file."""

    def load(environ, dotenv="", **arguments):
        path = tmp_path / ".env"
        path.write_text(dotenv, encoding="utf-8")
        return load_settings(environ, path, **arguments)

    return load


@pytest.fixture
def problems_of(load):
    def problems_of(environ, dotenv="", **arguments):
        with pytest.raises(SettingsError) as raised:
            load(environ, dotenv, **arguments)
        return raised.value.problems

    return problems_of


@pytest.fixture(scope="session")
def client():
    """A client of the hooks, without the guard."""
    return hook_client()


@pytest.fixture
def ctrl_c():
    """Handle Ctrl-C, since a shell makes its background processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def okta():
    """Tests that break or rotate an issuer make their own."""
    with LocalOkta() as server:
        yield server
