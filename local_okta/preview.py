"""`flask okta preview` and `verify-event-hook`: sample requests to the running service."""

import json
import secrets
import sys
from urllib.parse import urlsplit

import click
from flask.cli import with_appcontext
from joserfc.jwk import RSAKey

from local_okta import client
from local_okta.authorization_server import HOST
from local_okta.judge import judge, judge_verification
from local_okta.samples import SAMPLES, Sample
from local_okta.serve import SCOPE, kept_client
from local_okta.service import basic_pair, check_answers, event_hook_paths, settings, url_option
from local_okta.terminal import heading, row, say

HOOK_LIST = "\n".join(f"  {name:<34}{sample.about}" for name, sample in SAMPLES.items())
# With a longer body the Authorization line would not be on one screen with the verdict.
LONGEST_BODY = 12


@click.command(
    epilog=f"\b\nHooks and what their samples are about:\n{HOOK_LIST}",
    short_help="Send sample requests to the running service.",
)
@click.argument("hook", required=False, metavar="[HOOK]", type=click.Choice(list(SAMPLES)))
@click.option(
    "--auth",
    type=click.Choice(["basic", "client-secret", "private-key", "none"]),
    help="How to authenticate. By default as AUTH_MODE asks for: basic, or client-secret.",
)
@click.option("--verbose", is_flag=True, help="Show the whole body of the request.")
@url_option
@with_appcontext
def preview(hook: str | None, auth: str | None, verbose: bool, url: str) -> None:
    """Send a sample request to the running service, as the Preview tab of a hook does in Okta.

    Prints the request, the response, and what Okta would do with it. Without HOOK, sends every
    sample and prints a row for each.

    Event hooks are always sent with Basic, since Okta can send them with nothing else. For
    client-secret and private-key the token comes from the local Okta (flask okta serve).

    The exit status is 1 if Okta could not use an answer.
    """
    auth = auth or ("client-secret" if settings().auth_mode == "oauth" else "basic")
    check_answers(url, "flask run")
    good = _preview_one(SAMPLES[hook], auth, url, verbose) if hook else _preview_all(auth, url)
    sys.exit(0 if good else 1)


@click.command("verify-event-hook", short_help="Do Okta's one-time check of event hooks.")
@url_option
@with_appcontext
def verify_event_hook(url: str) -> None:
    """Do what the Verify button of an event hook does in Okta.

    Sends a challenge to each event hook and checks that it comes back. The exit status is 1 if
    it does not.
    """
    credentials = client.basic(*basic_pair())
    check_answers(url, "flask run")
    verdicts = []
    paths = event_hook_paths()
    for path in paths:
        challenge = secrets.token_urlsafe(24)
        answer = client.verify(url + path, challenge, credentials=credentials)
        verdict = judge_verification(challenge, answer)
        verdicts.append(verdict.accepted)
        width = max(map(len, paths))
        say(f"{path:<{width}}  {verdict.sentence}", fg="green" if verdict.accepted else "red")
    sys.exit(0 if all(verdicts) else 1)


def _preview_one(sample: Sample, auth: str, url: str, verbose: bool) -> bool:
    payload, credentials = sample.payload, _credentials(sample, auth)
    answer = client.send(url + sample.path, payload, kind=sample.kind, credentials=credentials)
    say("Request", bold=True)
    say(f"POST {url}{sample.path}")
    for name, value in answer.sent.items():
        # The token or pair itself is for nobody's screen.
        hidden = f"{value.partition(' ')[0]} ••••••••"
        say(f"{name}: {hidden if name == 'Authorization' else value}")
    lines = json.dumps(payload, indent=2).splitlines()
    if len(lines) > LONGEST_BODY and not verbose:
        lines = [f"{{ … {len(lines) - 2} lines, which --verbose shows … }}"]
    say("\n" + "\n".join(lines) + "\n")
    say(f"Response, {answer.milliseconds} ms", bold=True)
    if answer.status is not None:
        say(answer.status_line)
    if answer.body:
        text = answer.body.decode(errors="replace")
        say(text if answer.json is None else json.dumps(answer.json, indent=2, ensure_ascii=False))
    verdict = judge(sample.kind, payload, answer)
    say(f"\n{verdict.sentence}.", fg="green" if verdict.accepted else "red")
    return verdict.accepted


def _preview_all(auth: str, url: str) -> bool:
    accepted = []
    heading()
    for sample in SAMPLES.values():
        if _sent_with(sample, auth) == "basic" and not settings().basic_auth_password:
            say(f"{sample.name:<33} not sent: there is no Basic pair")
            continue
        payload, credentials = sample.payload, _credentials(sample, auth)
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
    token_url = f"{issuer}/v1/token"
    check_answers(token_url, "flask okta serve")
    if auth == "client-secret":
        return client.client_secret(token_url, kept["client_id"], kept["client_secret"], SCOPE)
    key = RSAKey.import_key(kept["client_key"])
    return client.private_key(token_url, kept["client_id"], key, SCOPE)
