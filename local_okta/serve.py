"""`flask okta serve` and `rotate-keys`: the local Okta as a process of its own."""

import contextlib
import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from local_okta import client
from local_okta.authorization_server import HOST, LocalOkta, made_up_client_id, new_key
from local_okta.endpoints import KEY_ROTATION
from local_okta.page import add_page
from local_okta.samples import check_samples
from local_okta.service import check_answers
from local_okta.terminal import say

PORT = 8010
SCOPE = "hooks"

port_option = click.option(
    "--port",
    default=PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of the local Okta.",
)


@click.command(short_help="Run the local Okta, which issues tokens.")
@port_option
@with_appcontext
def serve(port: int) -> None:
    """Run a local Okta: an authorization server that issues tokens like Okta's.

    Its page shows, in a browser, what Okta sends and what it does with the answers.

    Prints the four lines that make the service accept its tokens; put them into .env and restart
    the service. Client ID, secret and key stay the same at the next start (they are kept in
    instance/local-okta.json, which only you can read); the keys that sign tokens are new each time.

    Stop it with Ctrl-C.
    """
    check_samples()
    kept = kept_client() or _new_client()
    okta = LocalOkta(
        **kept,
        audience=current_app.config["SETTINGS"].okta_audience,
        scopes=(SCOPE,),
        port=port,
    )
    add_page(okta, current_app.app_context, _show_request)
    try:
        okta.start()
    except OSError as error:
        reason = os.strerror(error.errno)
        message = f"Port {port} cannot be used ({reason}): choose another with --port."
        raise click.ClickException(message) from None
    say(f"Open http://{HOST}:{port}/ to see what Okta sends.\n", bold=True)
    say(f"The local Okta runs on http://{HOST}:{port}. In .env:\n", bold=True)
    say("AUTH_MODE=oauth")
    say(f"OKTA_ISSUER={okta.issuer}")
    say(f"OKTA_CLIENT_ID={okta.client_id}")
    say(f"OKTA_SCOPE={SCOPE}")
    say("\nRequests for tokens, keys and the management API are shown here. Press Ctrl-C to stop.")
    wait_for_ctrl_c()
    okta.stop()
    say("\nThe local Okta has stopped.")


@click.command("rotate-keys", short_help="Make the local Okta sign with a new key.")
@port_option
def rotate_keys(port: int) -> None:
    """Make the running local Okta sign with a new key.

    The old key stays published beside the new one, as in Okta, so earlier tokens stay valid.
    """
    base = f"http://{HOST}:{port}"
    check_answers(base, "flask okta serve")
    answer = client.send(base + KEY_ROTATION, {"use": "sig"}, kind="management")
    try:
        new, old = (key["kid"] for key in answer.json)
    except (TypeError, KeyError, ValueError):
        raise click.ClickException(f"What answers at {base} is not a local Okta.") from None
    say(f"The local Okta signs with {new}")
    say(f"and still publishes     {old}")


def kept_client() -> dict[str, Any] | None:
    """The client of the local Okta, its key as an RSAKey; None if it never ran."""
    path = _client_file()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            "client_id": str(kept["client_id"]),
            "client_secret": str(kept["client_secret"]),
            "client_key": RSAKey.import_key(kept["client_key"]),
        }
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path} cannot be read ({os.strerror(error.errno)})."
        raise click.ClickException(message) from None
    except (ValueError, KeyError, TypeError, JoseError):
        message = f"{path} cannot be used, since it is not what flask okta serve wrote: delete it."
        raise click.ClickException(message) from None


def wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _client_file() -> Path:
    return Path(current_app.instance_path, "local-okta.json")


def _new_client() -> dict[str, Any]:
    key = new_key()
    made = {"client_id": made_up_client_id(), "client_secret": secrets.token_urlsafe(48)}
    path = _client_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No other user can read it, not even while it is being written.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made | {"client_key": key.as_dict(private=True)}, file, indent=2)
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be written ({os.strerror(error.errno)}). The local Okta keeps its "
            "client there: make the folder writable."
        ) from None
    return made | {"client_key": key}


def _show_request(method: str, path: str, outcome: str) -> None:
    # A line feed in it must not begin a line of its own.
    path = path.encode("unicode_escape").decode()
    say(f"{time.strftime('%H:%M:%S')}  {method} {path}  {outcome}")
