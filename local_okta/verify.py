"""`flask okta verify-event-hook`: Okta's one-time check, for each event hook of the service."""

import secrets
import sys

import click
from flask.cli import with_appcontext

from local_okta import client
from local_okta.judge import judge_verification
from local_okta.service import (
    START,
    basic_pair,
    check_answers,
    event_hook_paths,
    note_another_program,
    url_option,
    without_hook_path,
)
from local_okta.terminal import say, waiting


@click.command("verify-event-hook", short_help="Do Okta's one-time check of event hooks.")
@url_option
@with_appcontext
def verify_event_hook(url: str) -> None:
    """Do what the Verify button of an event hook does in Okta.

    Sends a challenge to each event hook and checks that it comes back. The exit status is 1 if
    it does not.
    """
    credentials = client.basic(*basic_pair())
    url = without_hook_path(url)
    check_answers(url, START)
    verdicts, answers = [], []
    paths = event_hook_paths()
    for path in paths:
        challenge = secrets.token_urlsafe(24)
        with waiting(f"an answer from {path}"):
            answer = client.verify(url + path, challenge, credentials=credentials)
        verdict = judge_verification(challenge, answer)
        verdicts.append(verdict.accepted)
        answers.append(answer)
        width = max(map(len, paths))
        say(f"{path:<{width}}  {verdict.sentence}", fg="green" if verdict.accepted else "red")
    note_another_program(answers)
    sys.exit(0 if all(verdicts) else 1)
