"""`flask okta …`: what Okta does, from a terminal.

The service that is called runs elsewhere; these commands know no more of it than its settings.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask import current_app, request
from flask.cli import AppGroup
from joserfc.jwk import RSAKey

from local_okta import client
from local_okta.authorization_server import (
    HOST,
    KEY_ROTATION,
    LocalOkta,
    made_up_client_id,
    new_key,
)
from local_okta.judge import judge, judge_verification
from local_okta.samples import EVENT_HOOK_PATHS, SAMPLES, Sample
from local_okta.terminal import heading, row, say

SERVICE_URL = "http://127.0.0.1:5000"
PORT = 8010
SCOPE = "hooks"
CLIENT_FILE = "local-okta.json"

HOOK_LIST = "\n".join(f"  {name:<34}{sample.about}" for name, sample in SAMPLES.items())

okta_commands = AppGroup("okta", help="Do what Okta does, and check what it needs.")


def service_url(context, parameter, value: str) -> str:
    """Checks an address given as an option."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(f"{value} is no address such as {SERVICE_URL}")
    return value.rstrip("/")


url_option = click.option(
    "--url",
    default=SERVICE_URL,
    show_default=True,
    callback=service_url,
    help="Where the service runs.",
)
port_option = click.option(
    "--port",
    default=PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of the local Okta.",
)


@okta_commands.command(
    epilog=f"\b\nHooks and what their samples are about:\n{HOOK_LIST}",
    short_help="Send sample calls to the running service.",
)
@click.argument("hook", required=False, metavar="[HOOK]", type=click.Choice(list(SAMPLES)))
@click.option(
    "--auth",
    type=click.Choice(["basic", "client-secret", "private-key", "none"]),
    help="How to authenticate. By default as AUTH_MODE asks for: basic, or client-secret.",
)
@url_option
def preview(hook: str | None, auth: str | None, url: str) -> None:
    """Send a sample call to the running service, as the Preview tab of a hook does in Okta.

    Prints the request, the response, and what Okta would do with it. Without HOOK, sends every
    sample and prints one line for each.

    Event hooks are always sent with Basic, since Okta can send them with nothing else. For
    client-secret and private-key the token comes from the local Okta (flask okta serve).

    The exit status is 1 if Okta could not use an answer.
    """
    auth = auth or ("client-secret" if _settings().auth_mode == "oauth" else "basic")
    _check_answers(url, "flask run")
    accepted = _preview_one(SAMPLES[hook], auth, url) if hook else _preview_all(auth, url)
    sys.exit(0 if accepted else 1)


@okta_commands.command("verify-event-hook", short_help="Do Okta's one-time check of event hooks.")
@url_option
def verify_event_hook(url: str) -> None:
    """Do what the Verify button of an event hook does in Okta.

    Sends a challenge to each event hook and checks that it comes back. The exit status is 1 if
    it does not.
    """
    credentials = _basic()
    _check_answers(url, "flask run")
    verdicts = []
    for path in EVENT_HOOK_PATHS:
        challenge = secrets.token_urlsafe(24)
        answer = client.verify(url + path, challenge, credentials=credentials)
        verdict = judge_verification(challenge, answer)
        verdicts.append(verdict.accepted)
        say(f"{path:<18}{verdict.sentence}", fg="green" if verdict.accepted else "red")
    sys.exit(0 if all(verdicts) else 1)


@okta_commands.command("auth-secret", short_help="Print what to paste as Authentication secret.")
def auth_secret() -> None:
    """Print the value for the Authentication secret field of a hook in Okta.

    It is made from BASIC_AUTH_USER and BASIC_AUTH_PASSWORD. The Authentication field beside it
    is: Authorization. Piped into another program, it comes without a line's end.
    """
    settings = _basic_settings()
    terminal = sys.stdout.isatty()
    if terminal:
        click.echo("Authentication field: Authorization. Authentication secret:", err=True)
    value = client.basic_header(settings.basic_auth_user, settings.basic_auth_password)
    click.echo(value, nl=terminal)


@okta_commands.command(short_help="Run the local Okta, which issues tokens.")
@port_option
def serve(port: int) -> None:
    """Run a local Okta: an authorization server that issues tokens as Okta's do.

    Prints the four lines that make the service accept its tokens; put them into .env and start
    the service again. Client ID, secret and key stay the same at the next start (they are kept in
    instance/local-okta.json, for your eyes only); the keys that sign tokens are new each time.

    Stop it with Ctrl-C.
    """
    kept = _kept_client() or _new_client()
    okta = LocalOkta(
        client_id=kept["client_id"],
        client_secret=kept["client_secret"],
        client_key=RSAKey.import_key(kept["client_key"]),
        audience=_settings().okta_audience,
        scopes=(SCOPE,),
        port=port,
    )
    okta.app.after_request(_show_request)
    try:
        okta.start()
    except OSError as error:
        reason = os.strerror(error.errno)
        message = f"Port {port} cannot be used ({reason}): choose another with --port."
        raise click.ClickException(message) from None
    say(f"The local Okta runs on http://{HOST}:{port}. In .env:\n", bold=True)
    say("AUTH_MODE=oauth")
    say(f"OKTA_ISSUER={okta.issuer}")
    say(f"OKTA_CLIENT_ID={okta.client_id}")
    say(f"OKTA_SCOPE={SCOPE}")
    say("\nEach request shows here. Ctrl-C stops it.")
    _wait_for_ctrl_c()
    okta.stop()
    say("\nThe local Okta has stopped.")


@okta_commands.command("rotate-keys", short_help="Make the local Okta sign with a new key.")
@port_option
def rotate_keys(port: int) -> None:
    """Make the running local Okta sign with a new key.

    The old key stays published beside the new one, as in Okta. Tokens that are out stay good.
    """
    base = f"http://{HOST}:{port}"
    _check_answers(base, "flask okta serve")
    answer = client.send(base + KEY_ROTATION, {"use": "sig"}, kind="management")
    if answer.status != 200:
        raise click.ClickException(f"What answers at {base} is no local Okta.")
    new, old = (key["kid"] for key in answer.json)
    say(f"The local Okta signs with {new}")
    say(f"and still publishes     {old}")


def _preview_one(sample: Sample, auth: str, url: str) -> bool:
    credentials = _credentials(sample, auth)
    answer = client.send(
        url + sample.path, sample.payload, kind=sample.kind, credentials=credentials
    )
    say("Request", bold=True)
    say(f"POST {url}{sample.path}")
    for name, value in answer.sent.items():
        say(f"{name}: {_masked(value) if name == 'Authorization' else value}")
    say(f"\n{json.dumps(sample.payload, indent=2)}\n")
    say(f"Response, {answer.milliseconds} ms", bold=True)
    if answer.status is not None:
        say(f"{answer.status} {HTTPStatus(answer.status).phrase}")
    if answer.body:
        text = answer.body.decode(errors="replace")
        say(text if answer.json is None else json.dumps(answer.json, indent=2, ensure_ascii=False))
    verdict = judge(sample.kind, sample.payload, answer)
    say(f"\n{verdict.sentence}.", fg="green" if verdict.accepted else "red")
    return verdict.accepted


def _preview_all(auth: str, url: str) -> bool:
    accepted = []
    heading()
    for sample in SAMPLES.values():
        if _sent_with(sample, auth) == "basic" and not _settings().basic_auth_password:
            say(f"{sample.name:<34}not sent: there is no Basic pair")
            continue
        credentials = _credentials(sample, auth)
        payload = sample.payload
        answer = client.send(url + sample.path, payload, kind=sample.kind, credentials=credentials)
        verdict = judge(sample.kind, payload, answer)
        accepted.append(verdict.accepted)
        row(sample.name, _sent_with(sample, auth), answer, verdict.sentence, good=verdict.accepted)
    say(f"\nOkta can use {sum(accepted)} of {len(accepted)} answers.", bold=True)
    return all(accepted)


def _sent_with(sample: Sample, auth: str) -> str:
    return auth if auth in (*sample.authentications, "none") else "basic"


def _credentials(sample: Sample, auth: str) -> client.Credentials:
    auth = _sent_with(sample, auth)
    if auth == "none":
        return client.no_credentials
    return _basic() if auth == "basic" else _oauth(auth)


def _settings():
    return current_app.config["SETTINGS"]


def _basic_settings():
    settings = _settings()
    if not settings.basic_auth_password:
        raise click.ClickException(
            "There is no Basic pair: set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD in .env. "
            "Okta can send event hooks with nothing else."
        )
    return settings


def _basic() -> client.Credentials:
    settings = _basic_settings()
    return client.basic(settings.basic_auth_user, settings.basic_auth_password)


def _oauth(auth: str) -> client.Credentials:
    kept = _kept_client()
    if kept is None:
        raise click.ClickException(
            "There is no local Okta to get a token from: start one with flask okta serve."
        )
    issuer = _settings().okta_issuer
    if issuer is None or urlsplit(issuer).hostname != HOST:
        raise click.ClickException(
            f"OKTA_ISSUER is {issuer or 'not set'}, but tokens come from the local Okta: "
            "put the four lines that flask okta serve prints into .env."
        )
    token_url = f"{issuer}/v1/token"
    _check_answers(token_url, "flask okta serve")
    if auth == "client-secret":
        secret = kept["client_secret"]
        return client.client_secret(token_url, kept["client_id"], secret, SCOPE)
    key = RSAKey.import_key(kept["client_key"])
    return client.private_key(token_url, kept["client_id"], key, SCOPE)


def _client_file() -> Path:
    return Path(current_app.instance_path, CLIENT_FILE)


def _kept_client() -> dict | None:
    """The client of the local Okta, or None where it never ran."""
    try:
        return json.loads(_client_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"{_client_file()} cannot be read ({type(error).__name__}): delete it."
        raise click.ClickException(message) from None


def _new_client() -> dict:
    kept = {
        "client_id": made_up_client_id(),
        "client_secret": secrets.token_urlsafe(48),
        "client_key": new_key().as_dict(private=True),
    }
    path = _client_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Readable by nobody else from the first byte on.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(kept, file, indent=2)
    return kept


def _check_answers(url: str, command: str) -> None:
    """Ends the command with one plain message where nothing listens at `url`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=client.SECONDS).close()
    except OSError:
        raise click.ClickException(
            f"Nothing answers at {parts.scheme}://{parts.netloc}. "
            f"Start it in another terminal: {command}"
        ) from None


def _wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _masked(authorization: str) -> str:
    return f"{authorization.partition(' ')[0]} ••••••••"


def _show_request(response):
    say(f"{time.strftime('%H:%M:%S')}  {request.method:<5}{request.path}  {response.status_code}")
    return response
