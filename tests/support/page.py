"""The page of the local Okta on a free port, for the tests that talk to it."""

import contextlib
import shutil

from app import create_app
from local_okta.authorization_server import LocalOkta
from local_okta.page import add_page
from settings import Settings
from tests.support.gunicorn import BASIC_PAIR

BASIC = dict(zip(("basic_auth_user", "basic_auth_password"), BASIC_PAIR, strict=True))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed_browser() -> str | None:
    """The path of a Chromium, if one is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.contextmanager
def served_page(okta: LocalOkta, settings: Settings | None = None, error=None):
    """Serve `okta` with its page, for a service with these settings. Yields its address.

    Without settings, the service accepts the tokens of `okta`.
    """
    app = create_app(Settings(**BASIC))
    add_page(okta, app.app_context, lambda *shown: None)
    with okta:
        app.config["SETTINGS_ERROR"] = error
        app.config["SETTINGS"] = settings or Settings(
            auth_mode="oauth",
            okta_issuer=okta.issuer,
            okta_client_id=frozenset({okta.client_id}),
            okta_scope=okta.scopes[0],
            **BASIC,
        )
        yield f"http://127.0.0.1:{okta.port}"
