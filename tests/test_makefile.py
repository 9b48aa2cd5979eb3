"""The Makefile, with a fake Python that makes a tiny environment and installs nothing."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.gunicorn import PROJECT

PYTHON = """#!/bin/sh
[ "$1 $2" != "-m venv" ] && exit 0
echo made >> made.log
mkdir -p "$3/bin"
printf '#!/bin/sh\\ntest -e "$0.pip"\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
[ -e without-ensurepip ] && echo "ensurepip is not available" && exit 1
touch "$3/bin/python.pip"
echo "VIRTUAL_ENV='$PWD/$3'" > "$3/bin/activate"
"""


class Project:
    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        for name in ("Makefile", "requirements.txt", "constraints.txt"):
            shutil.copy(PROJECT / name, folder)
        (folder / "python").write_text(PYTHON)
        (folder / "python").chmod(0o755)

    def set_up(self) -> subprocess.CompletedProcess:
        command = ["make", "PYTHON=./python", ".venv/.installed"]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def times_made(self) -> int:
        return (self.folder / "made.log").read_text().count("made")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


def test_an_environment_is_created_only_once(project):
    for _ in range(2):
        assert project.set_up().returncode == 0
    assert project.times_made == 1


def test_python_without_venv_explains_itself_and_is_tried_again_once_it_is_installed(project):
    missing = project.folder / "without-ensurepip"
    missing.touch()
    failed = project.set_up()
    assert failed.returncode
    assert "ensurepip is not available" in failed.stdout
    missing.unlink()
    assert project.set_up().returncode == 0


def half_made(project):
    (project.folder / ".venv/bin/python.pip").unlink()


def moved(project):
    elsewhere = project.folder.with_name("elsewhere")
    project.folder.rename(elsewhere)
    project.folder = elsewhere


def copied(project):
    copy = project.folder.with_name("copy")
    shutil.copytree(project.folder, copy, symlinks=True)
    project.folder = copy


def lost_its_python(project):
    python = project.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/python/that/is/gone")


def got_another_python(project):
    (project.folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")


def has_no_scripts(project):
    (project.folder / ".venv/bin/activate").unlink()


BROKEN = (half_made, has_no_scripts, moved, copied, lost_its_python, got_another_python)


@pytest.mark.parametrize("damage", BROKEN)
def test_an_unusable_environment_is_created_again(project, damage):
    project.set_up()
    damage(project)
    assert project.set_up().returncode == 0
    assert project.times_made == 2
    assert (project.folder / ".venv/.installed").exists()


def test_an_environment_elsewhere_is_used_through_a_link(project):
    project.set_up()
    project.folder.joinpath(".venv").rename(project.folder / "environment")
    project.folder.joinpath(".venv").symlink_to("environment")
    activate = project.folder / "environment/bin/activate"
    activate.write_text(f"VIRTUAL_ENV='{project.folder}/environment'")
    assert project.set_up().returncode == 0
    assert project.times_made == 1


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_make_run_without_an_error(project):
    project.set_up()
    flask = project.folder / ".venv/bin/flask"
    flask.write_text(
        "#!/bin/sh\ntrap 'sleep 0.5; exit 1' INT\necho serving\nwhile :; do sleep 0.1; done\n"
    )
    flask.chmod(0o755)
    (project.folder / ".env").touch()
    make = subprocess.Popen(
        # `make test` would pass its own flags on, and make this one print its folder.
        ["make", "--no-print-directory", "run"],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert make.stdout.readline() == "serving\n"
    os.killpg(make.pid, signal.SIGINT)
    assert make.communicate(timeout=30) == ("", None)
