"""README and docs, followed from top to bottom as a reader does, each in a copy of the project.

After the pages about your own hooks, the whole suite and the demo run in the copy. This takes
longer than all of `make test`, so only `make test-pages` runs it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gunicorn import PROJECT
from tests.support.pages import Reader

ABOUT_OWN_HOOKS = ("write-a-hook.md", "remove-a-hook.md")
OTHERS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
OTHERS = [page for page in OTHERS if page.name not in ABOUT_OWN_HOOKS]
TESTS = ["pytest", "-n", "4", "--dist", "loadfile"]
# Tests that failed under load run once more, one at a time.
AGAIN = ["pytest", "--last-failed", "--last-failed-no-failures", "none"]
OTHER_CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["flask", "okta", "demo"],
)


@pytest.mark.parametrize("page", OTHERS, ids=lambda path: path.name)
def test_a_page_can_be_followed(page, tmp_path):
    with Reader(tmp_path / "project") as reader:
        reader.go_through(page)


@pytest.mark.parametrize("page", ABOUT_OWN_HOOKS)
def test_the_project_is_in_order_after_the_page(page, tmp_path):
    with Reader(tmp_path / "project") as reader:
        reader.go_through(PROJECT / "docs" / page)
    (reader.folder / ".env").unlink(missing_ok=True)
    if run(TESTS, reader.folder).returncode:
        expect_success(AGAIN, reader.folder)
    for check in OTHER_CHECKS:
        expect_success(check, reader.folder)


def run(check: list[str], folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *check]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def expect_success(check: list[str], folder: Path) -> None:
    done = run(check, folder)
    assert done.returncode == 0, f"{check}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
