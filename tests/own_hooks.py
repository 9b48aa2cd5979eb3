"""Who follows the pages about hooks of one's own keeps a project that passes its tests.

`make test-own` runs this. It is not a part of `make test`, since it runs all of that twice.
"""

import subprocess
import sys

import pytest

from tests.reader import Reader
from tests.service import PROJECT

CHECKS = (
    ["pytest", "-n", "4", "--dist", "loadfile"],
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
)


@pytest.mark.parametrize("page", ["write-a-hook.md", "remove-a-hook.md"])
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
