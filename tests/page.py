"""The page of the local Okta on free ports, for the tests that speak to it."""

import contextlib
import socket

from app import create_app
from local_okta.authorization_server import LocalOkta
from local_okta.page import add_page
from local_okta.samples import SAMPLES
from settings import Settings
from tests.service import BASIC_PAIR

INLINE = [sample for sample in SAMPLES.values() if sample.kind != "event"]
# The token hook, as long as it is there: the page has the most to tell about it.
HOOK = SAMPLES.get("token", INLINE[0])


@contextlib.contextmanager
def served_page(okta: LocalOkta, *, error=None, **settings):
    """Serves `okta` with its page, for a service with these settings; gives the page's address."""
    app = create_app(Settings(basic_auth_user="okta", basic_auth_password="unused"))
    app.config.update(SETTINGS=Settings(**settings), SETTINGS_ERROR=error)
    okta.shown = []
    add_page(okta, app.app_context, lambda *shown: okta.shown.append(shown))
    with okta:
        yield f"http://127.0.0.1:{okta.port}"


def basic_settings_of_page() -> dict:
    user, password = BASIC_PAIR
    return {"basic_auth_user": user, "basic_auth_password": password}


def oauth_settings_of_page(okta: LocalOkta) -> dict:
    return basic_settings_of_page() | {
        "auth_mode": "oauth",
        "okta_issuer": okta.issuer,
        "okta_client_id": frozenset({okta.client_id}),
        "okta_scope": okta.scopes[0],
    }


@contextlib.contextmanager
def silent_server():
    """Takes connections and answers nothing; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
