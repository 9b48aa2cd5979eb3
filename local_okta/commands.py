"""`flask okta …`: what Okta does, from a terminal.

The service runs in another process. These commands read its settings and send it requests.
"""

import os
import secrets
import sys
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from local_okta import client
from local_okta.demo import demo
from local_okta.preview import preview
from local_okta.samples import SAMPLES
from local_okta.serve import rotate_keys, serve
from local_okta.service import basic_pair
from local_okta.terminal import say
from local_okta.verify import verify_event_hook


@click.group("okta", cls=AppGroup)
@click.pass_context
def okta_commands(context: click.Context):
    """Do what Okta does, and check what it needs."""
    # For commands of this group that are not in this package.
    context.meta["local_okta.samples"] = SAMPLES.values()


@click.command("new-env", short_help="Create .env, with a new random password.")
@with_appcontext
def new_env() -> None:
    """Create .env from .env.example, with a new random password.

    An existing .env is not changed.
    """
    path = Path(current_app.root_path, ".env")
    try:
        _write_new(path, _with_password(path.with_name(".env.example").read_text("utf-8")))
    except FileExistsError:
        raise click.ClickException(".env already exists, and was not changed.") from None
    except OSError as error:
        message = (
            f"{error.filename} cannot be used ({os.strerror(error.errno)}): no .env was created."
        )
        raise click.ClickException(message) from None
    say("Created .env from .env.example, with a new random password.")


def _with_password(example: str) -> str:
    return "".join(
        f"BASIC_AUTH_PASSWORD={secrets.token_urlsafe(32)}\n"
        if line.startswith("BASIC_AUTH_PASSWORD=")
        else line
        for line in example.splitlines(keepends=True)
        # Notes in .env.example for someone who copies it by hand.
        if not line.startswith("#!")
    )


def _write_new(path: Path, text: str) -> None:
    # No other user can read it, not even while it is being written.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


@click.command("auth-secret", short_help="Print what to paste as Authentication secret.")
@with_appcontext
def auth_secret() -> None:
    """Print the value for the Authentication secret field of a hook in Okta.

    It is made from BASIC_AUTH_USER and BASIC_AUTH_PASSWORD. The Authentication field beside it
    is: Authorization. Piped into another program, the value comes without a newline.
    """
    value = client.basic_header(*basic_pair())
    terminal = sys.stdout.isatty()
    if terminal:
        click.echo("Authentication field: Authorization. Authentication secret:", err=True)
    click.echo(value, nl=terminal)


for command in (new_env, auth_secret, preview, verify_event_hook, serve, rotate_keys, demo):
    okta_commands.add_command(command)
