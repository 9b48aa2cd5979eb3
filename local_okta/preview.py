"""`flask okta preview`: send sample requests, or your own, to the running service."""

import json
import sys
import textwrap
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import click
from flask.cli import with_appcontext

from local_okta import client
from local_okta.authorization_server import HOST
from local_okta.judge import judge
from local_okta.own_request import EVENT_TYPES, NotARequest, kind_of, path_of, payload_of
from local_okta.samples import SAMPLES, check_samples
from local_okta.serve import SCOPE, kept_client
from local_okta.service import (
    START,
    after_events,
    basic_pair,
    check_answers,
    note_another_program,
    settings,
    url_option,
    without_hook_path,
)
from local_okta.terminal import heading, row, say, waiting

HOOK_LIST = "\n".join(f"  {name:<34}{sample.about}" for name, sample in SAMPLES.items())
# With a longer body, the Authorization header and the verdict would not fit on one screen.
LONGEST_BODY = 12


@dataclass(frozen=True)
class Request:
    """What is sent to one hook. Without a `kind`, the answer cannot be judged."""

    path: str
    kind: str | None
    payload: dict[str, Any]


def known_hook(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value and value not in SAMPLES:
        raise click.BadParameter(f"there is no {value!r}. There are:\n\n{HOOK_LIST}")
    return value


def own_path(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value and path_of(value)
    except NotARequest as error:
        raise click.BadParameter(str(error)) from None


def own_body(
    context: click.Context, parameter: click.Parameter, value: BinaryIO | None
) -> dict[str, Any] | None:
    try:
        return value and payload_of(value.read())
    except NotARequest as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog=f"\b\nHooks and what their samples are about:\n{HOOK_LIST}",
    short_help="Send sample requests to the running service.",
)
@click.argument("hook", required=False, metavar="[HOOK]", callback=known_hook)
@click.option(
    "--auth",
    type=click.Choice(["basic", "client-secret", "private-key", "none"]),
    help="How to authenticate. The default follows AUTH_MODE: basic or client-secret.",
)
@click.option("--verbose", is_flag=True, help="Show the whole body of the request.")
@click.option(
    "--path", callback=own_path, help="Send to this path, such as /myHook. Needs HOOK or --body."
)
@click.option(
    "--body",
    type=click.File("rb"),
    callback=own_body,
    help="Send this file, which must hold a JSON object; - is standard input.",
)
@click.option(
    "--event-type",
    type=click.Choice(list(EVENT_TYPES)),
    metavar="TYPE",
    help="Judge the answer by this eventType, whatever the body says.",
)
@url_option
@with_appcontext
def preview(
    hook: str | None,
    auth: str | None,
    verbose: bool,
    path: str | None,
    body: dict[str, Any] | None,
    event_type: str | None,
    url: str,
) -> None:
    """Send a sample request to the running service, as the Preview tab of a hook does in Okta.

    Prints the request, the response, and what Okta would do with it. Without HOOK, sends every
    sample and prints a row for each.

    To send your own request, or one from a log: --path /myHook --body request.json. With HOOK,
    either option replaces the sample's own value.

    Event hooks are always sent with Basic, since Okta can send them with nothing else. For
    client-secret and private-key the token comes from the local Okta (flask okta serve).

    The exit status is 1 if Okta could not use an answer.
    """
    request = _request(hook, path, body, event_type)
    auth = auth or ("client-secret" if settings().auth_mode == "oauth" else "basic")
    url = without_hook_path(url, *([path] if path else []))
    check_answers(url, START)
    good = _preview_one(request, auth, url, verbose) if request else _preview_all(auth, url)
    sys.exit(0 if good else 1)


def _request(
    hook: str | None, path: str | None, body: dict[str, Any] | None, event_type: str | None
) -> Request | None:
    sample = SAMPLES[hook] if hook else None
    path = path or (sample and sample.path)
    payload = sample.payload if sample and body is None else body
    if payload is None and (path or event_type):
        raise click.UsageError("What should be sent? Name a HOOK, or a file: --body request.json")
    if payload is None:
        return None
    if path is None:
        raise click.UsageError("Where should it be sent? Name a HOOK, or a path: --path /myHook")
    kind = EVENT_TYPES.get(event_type) or kind_of(payload, sample and sample.kind)
    return Request(path, kind, payload)


def _preview_one(request: Request, auth: str, url: str, verbose: bool) -> bool:
    address, credentials = url + request.path, _credentials(request.kind, auth)
    with waiting("an answer"):
        answer = client.send(
            address, request.payload, kind=request.kind or "", credentials=credentials
        )
    if answer.was_sent:
        _show_request(address, answer, request.payload, verbose)
    else:
        say(f"Nothing was sent to {address}\n", bold=True)
    _show_response(answer)
    if request.kind is None:
        say("\nNot judged: the body has no eventType that the judge knows (see --event-type).")
        note_another_program([answer])
        return answer.status in (200, 204)
    verdict = judge(request.kind, request.payload, answer)
    say(f"\n{verdict.sentence}.", fg="green" if verdict.accepted else "red")
    note_another_program([answer])
    if request.kind == "event" and verdict.accepted:
        say("\n" + textwrap.fill(after_events(), 80))
    return verdict.accepted


def _show_request(address: str, answer: client.Answer, payload: dict, verbose: bool) -> None:
    say("Request", bold=True)
    say(f"POST {address}")
    for name, value in answer.sent.items():
        # Tokens and passwords are not shown.
        hidden = f"{value.partition(' ')[0]} ••••••••"
        say(f"{name}: {hidden if name == 'Authorization' else value}")
    lines = json.dumps(payload, indent=2, ensure_ascii=False).splitlines()
    if len(lines) > LONGEST_BODY and not verbose:
        lines = [f"{{ … {len(lines) - 2} lines, which --verbose shows … }}"]
    say("\n" + "\n".join(lines) + "\n")


def _show_response(answer: client.Answer) -> None:
    if answer.status is None:
        say(f"No response, {answer.times}", bold=True)
        return
    say(f"Response, {answer.times}", bold=True)
    say(answer.status_line)
    if answer.body:
        text = answer.body.decode(errors="replace")
        say(text if answer.json is None else json.dumps(answer.json, indent=2, ensure_ascii=False))


def _preview_all(auth: str, url: str) -> bool:
    check_samples()
    if auth in ("client-secret", "private-key"):
        # Say what is missing before the table begins.
        _oauth(auth)
    accepted, answers = [], []
    heading()
    for sample in SAMPLES.values():
        sent_with = _sent_with(sample.kind, auth)
        if sent_with == "basic" and not settings().basic_auth_password:
            say(f"{sample.name:<33} not sent: no user and password for HTTP Basic")
            continue
        payload, credentials = sample.payload, _credentials(sample.kind, auth)
        with waiting(f"an answer to {sample.name}"):
            answer = client.send(
                url + sample.path, payload, kind=sample.kind, credentials=credentials
            )
        verdict = judge(sample.kind, payload, answer)
        accepted.append(verdict.accepted)
        answers.append(answer)
        row(sample.name, sent_with, answer, verdict.sentence, good=verdict.accepted)
    say(f"\nOkta can use {sum(accepted)} of {len(accepted)} answers.", bold=True)
    note_another_program(answers)
    return all(accepted)


def _sent_with(kind: str | None, auth: str) -> str:
    return "basic" if kind == "event" and auth != "none" else auth


def _credentials(kind: str | None, auth: str) -> client.Credentials:
    auth = _sent_with(kind, auth)
    if auth == "none":
        return client.no_credentials
    return client.basic(*basic_pair()) if auth == "basic" else _oauth(auth)


def _oauth(auth: str) -> client.Credentials:
    kept, issuer = kept_client(), settings().okta_issuer
    if kept is None:
        raise click.ClickException(
            "There is no local Okta to get a token from: start one with flask okta serve."
        )
    if issuer is None or urlsplit(issuer).hostname != HOST:
        raise click.ClickException(
            f"OKTA_ISSUER is {issuer or 'not set'}, but tokens come from the local Okta: "
            "put the four lines that flask okta serve prints into .env."
        )
    client_ids = settings().okta_client_id
    if client_ids and kept["client_id"] not in client_ids:
        raise click.ClickException(
            "OKTA_CLIENT_ID does not name the local Okta's client, so the service refuses its "
            "tokens. Add the client ID that flask okta serve prints, after a comma."
        )
    token_url = f"{issuer}/v1/token"
    check_answers(token_url, "flask okta serve")
    if auth == "client-secret":
        return client.client_secret(token_url, kept["client_id"], kept["client_secret"], SCOPE)
    return client.private_key(token_url, kept["client_id"], kept["client_key"], SCOPE)
