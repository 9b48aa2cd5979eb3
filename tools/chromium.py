"""An installed Chromium, for the tests that look at a page and for its pictures."""

import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It asks for nothing but the page. As root, which CI is, it starts without a sandbox alone.
OPTIONS = (
    "no-sandbox",
    "no-first-run",
    "disable-gpu",
    "disable-quic",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)


def find() -> str | None:
    """The path of the first one that is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def launch(playwright: Playwright, path: str) -> Browser:
    options = [f"--{option}" for option in OPTIONS]
    return playwright.chromium.launch(executable_path=path, args=options)
