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
# test_docs, test_end_to_end, test_hooks_…, test_local_okta_…
OF_HOOKS = "tests/test_[dehl]*.py"
PYTEST = ["-n", "2", "--ignore", "tests/test_own_hooks.py"]
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
    of_hooks = [] if EVERYTHING else [str(path) for path in reader.folder.glob(OF_HOOKS)]
    for check in (["pytest", *PYTEST, *of_hooks], *STYLE):
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=reader.folder,
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{check}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
