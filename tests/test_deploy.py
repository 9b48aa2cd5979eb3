"""What is deployed: the image, and the other files that a platform reads."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.support.gunicorn import PROJECT, basic_settings, environment

LINES = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
IGNORED = [line for line in LINES if line and not line.startswith("#")]


def is_ignored(name: str) -> bool:
    return any(fnmatch(name, pattern.removeprefix("**/")) for pattern in IGNORED)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder with what `COPY . .` puts into the image."""
    folder = tmp_path_factory.mktemp("image") / "project"
    shutil.copytree(PROJECT, folder, ignore=lambda _, names: [*filter(is_ignored, names)])
    return folder


def run_in(folder, *command: str) -> subprocess.CompletedProcess:
    settings = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{folder}/events.sqlite")
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["gunicorn --check-config", "flask --help"])
def test_the_image_has_what_the_service_and_its_commands_need(image, command):
    done = run_in(image, *command.split())
    assert done.returncode == 0, done.stderr
    # flask only warns if the app cannot be loaded.
    assert "Error" not in done.stderr


def test_the_image_is_built_from_files_that_exist():
    build = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+) ", build, re.M) for name in line.split()]
    installed = re.findall(r" -[rc] (\S+)", build)
    assert "requirements.txt" in copied
    assert {*installed} <= {*copied}
    assert [name for name in copied if not (PROJECT / name).exists()] == []


@pytest.mark.parametrize("name", [".env", ".env.production", ".git", ".venv", "instance", "tests"])
def test_the_image_has_no_secrets_and_no_development_files(name):
    assert is_ignored(name)


def test_the_unit_refuses_a_reload_with_a_hook_that_cannot_be_imported(image, tmp_path):
    unit = (PROJECT / "deploy/okta-hooks.service").read_text(encoding="utf-8")
    check = re.search(r"^ExecReload=/opt/okta-hooks/.venv/bin/(.+)", unit, re.MULTILINE)[1]
    broken = shutil.copytree(image, tmp_path / "project")
    with (broken / "hooks/contract.py").open("a") as code:
        code.write("import no_such_module\n")
    done = run_in(broken, *check.split())
    assert done.returncode != 0
    assert "no_such_module" in done.stderr
