"""`make screenshots`: take the pictures of the local Okta's page for README and docs.

They are taken from the running page, with a service under gunicorn behind it and credentials that
are made up for the run. They use the ports that the page names, 5000 and 8010.
"""

import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import click
from playwright.sync_api import sync_playwright

from app import create_app
from local_okta.authorization_server import LocalOkta
from local_okta.demo import service
from local_okta.page import add_page
from local_okta.serve import PORT
from local_okta.terminal import say
from settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOLDER = Path(__file__).parent.parent / "docs" / "images"
LOOKED_AT = {
    "Expired token": "Status 401 is neither 200 nor 204",
    "Client secret": "Okta adds extPatientId to the ID token.",
}
PICTURES = {"light": "page.png", "dark": "page-dark.png"}


def main() -> None:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("Chromium is not installed (apt-get install chromium).")
    user, password = "okta", secrets.token_urlsafe(24)
    okta = LocalOkta(port=PORT)
    app = create_app(Settings(basic_auth_user=user, basic_auth_password=password))
    app.config["SETTINGS"] = Settings(
        auth_mode="oauth",
        okta_issuer=okta.issuer,
        okta_client_id=frozenset({okta.client_id}),
        okta_scope=okta.scopes[0],
    )
    add_page(okta, app.app_context, lambda *shown: None)
    settings = {
        "AUTH_MODE": "oauth",
        "OKTA_ISSUER": okta.issuer,
        "OKTA_CLIENT_ID": okta.client_id,
        "OKTA_SCOPE": okta.scopes[0],
    }
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            okta,
            app.app_context(),
            service(port=5000, EVENTS_DATABASE_URL=f"sqlite:///{folder}/events", **settings),
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=path) as browser,
        ):
            for scheme, name in PICTURES.items():
                _take(browser, f"http://127.0.0.1:{PORT}/", scheme, FOLDER / name)
    except OSError as error:
        sys.exit(f"Port 5000 or {PORT} is in use ({error.strerror}): stop what is using it.")
    except click.ClickException as error:
        sys.exit(error.message)


def _take(browser, url: str, scheme: str, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page.goto(url)
    page.get_by_label("Hook").select_option("token")
    for authentication, sentence in LOOKED_AT.items():
        page.get_by_label("Authentication").select_option(authentication)
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_text(sentence).wait_for()
    entries = page.get_by_role("region", name="Activity").get_by_role("listitem")
    entries.first.filter(has_text="sent to /tokenHook").filter(has_text="200").wait_for()
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path)
    say(f"{path.name}: {path.stat().st_size:,} bytes")
    page.close()


if __name__ == "__main__":
    main()
