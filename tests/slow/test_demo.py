"""The demo, as a newcomer sees it. `make test-pages` runs this."""

import subprocess
import sys

from tests.support.gunicorn import PROJECT


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
    *rows, summary, next_step = done.stdout.splitlines()
    assert "each accepted or refused as it should be" in summary
    assert next_step.startswith("Next: make run")
    # The private key gives the same results, summed up in one row.
    [summed_up] = [row for row in rows if "private key" in row]
    assert "Okta does the same as above" in summed_up
