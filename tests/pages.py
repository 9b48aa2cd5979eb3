"""README and docs, gone through from top to bottom as a reader does, each in a copy of the project.

After the pages about hooks of one's own, the whole suite runs in the copy. `make test-pages` runs
this. It is not a part of `make test`, since it takes longer than all of that.
"""

import subprocess
import sys

import pytest

from tests.reader import Reader
from tests.service import PROJECT

OF_OWN_HOOKS = ("write-a-hook.md", "remove-a-hook.md")
OTHERS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
OTHERS = [page for page in OTHERS if page.name not in OF_OWN_HOOKS]
CHECKS = (
    ["pytest", "-n", "4", "--dist", "loadfile"],
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
)


@pytest.mark.parametrize("page", OTHERS, ids=lambda path: path.name)
def test_a_page_can_be_gone_through(page, tmp_path):
    with Reader(tmp_path / "project") as reader:
        reader.go_through(page)


@pytest.mark.parametrize("page", OF_OWN_HOOKS)
def test_the_project_is_in_order_after_the_page(page, tmp_path):
    with Reader(tmp_path / "project") as reader:
        reader.go_through(PROJECT / "docs" / page)
    (reader.folder / ".env").unlink(missing_ok=True)
    for check in CHECKS:
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=reader.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{check}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
