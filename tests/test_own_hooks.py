"""Who follows the pages about hooks of one's own keeps a project that passes its tests.

`make test` runs the tests there that know of hooks; `make test-own` runs all of them.
"""

import os
import subprocess
import sys

import pytest

from tests.reader import PageOutdated, Reader
from tests.service import PROJECT

EVERYTHING = "OWN_HOOKS" in os.environ
OF_HOOKS = "test_end_to_end or test_hooks or sample or (test_docs and not (gone_through or quoted))"
PYTEST = ["--ignore", "tests/test_own_hooks.py"]
STYLE = (["ruff", "check", "."], ["ruff", "format", "--check", "."])


@pytest.mark.parametrize("page", ["write-a-hook.md", "remove-a-hook.md"])
def test_the_project_is_in_order_after_the_page(page, tmp_path):
    with Reader(tmp_path / "project") as reader:
        try:
            reader.go_through(PROJECT / "docs" / page)
        except (PageOutdated, FileNotFoundError) as reason:
            # In a project that has been changed, the page may no longer fit.
            if EVERYTHING:
                raise
            pytest.skip(f"{page} does not fit this project: {reason}")
    (reader.folder / ".env").unlink(missing_ok=True)
    selection = ["-n", "4"] if EVERYTHING else ["-k", f"({OF_HOOKS}) and not TestEveryHook"]
    for check in (["pytest", *PYTEST, *selection], *STYLE):
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=reader.folder,
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{check}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
