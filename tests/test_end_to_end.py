"""The whole way, as a newcomer goes it: the demo, with every sample and every authentication."""

import subprocess
import sys

from tests.service import PROJECT


def test_the_demo_finds_everything_as_it_should_be():
    done = subprocess.run(
        [sys.executable, "-m", "flask", "okta", "demo"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each accepted or refused as it should be" in done.stdout
