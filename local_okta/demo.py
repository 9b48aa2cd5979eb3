"""`make demo`: run the service under gunicorn, and send it every hook as Okta does.

It uses right and wrong credentials, which are made up for the run, and free ports on loopback. It
ignores your own settings, in the environment and in `.env`.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import fields

import click
from flask import current_app
from flask.cli import with_appcontext

from local_okta import client
from local_okta.authorization_server import HOST, LocalOkta
from local_okta.credentials import WRONG_TOKENS
from local_okta.demo_events import stored_events
from local_okta.judge import judge, judge_verification
from local_okta.samples import SAMPLES, check_samples
from local_okta.service import event_hook_paths
from local_okta.terminal import heading, row, say

SECONDS_TO_START = 20
FROM_THE_SYSTEM = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")

EVENT_SAMPLES = [sample for sample in SAMPLES.values() if sample.kind == "event"]
INLINE_SAMPLES = [sample for sample in SAMPLES.values() if sample.kind != "event"]
REFUSALS = {"missing scope": (403, "insufficient_scope")}


@click.command(short_help="Show every hook and every authentication at work.")
@with_appcontext
def demo() -> None:
    """Start the service under gunicorn and a local Okta, and send every hook.

    It uses right and wrong credentials, in both modes. The exit status is 1 unless every answer
    is as it should be.
    """
    check_samples()
    # TERM must stop gunicorn too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start, paths = time.monotonic(), event_hook_paths()
    user, password = "okta", secrets.token_urlsafe(24)
    common = {
        "BASIC_AUTH_USER": user,
        "BASIC_AUTH_PASSWORD": password,
        "TELEPHONY_PROVIDER": "console",
        # The demo runs its own worker, to show what happens to events.
        "EVENT_THREADS": "0",
    }
    lost = []
    with LocalOkta() as okta, tempfile.TemporaryDirectory() as folder:
        common["EVENTS_DATABASE_URL"] = f"sqlite:///{folder}/events.sqlite"
        say(f"The local Okta issues tokens on {okta.issuer}", bold=True)
        with service(AUTH_MODE="basic", **common) as url:
            heading()
            runs = [basic_mode(url, paths, user, password)]
            if EVENT_SAMPLES:
                basic, environment = client.basic(user, password), environment_with(**common)
                lost = stored_events(url, basic, environment, EVENT_SAMPLES[0])
        oauth = {
            "AUTH_MODE": "oauth",
            "OKTA_ISSUER": okta.issuer,
            "OKTA_CLIENT_ID": okta.client_id,
            "OKTA_SCOPE": okta.scopes[0],
        }
        with service(**oauth, **common) as url:
            heading()
            runs.append(oauth_mode(url, paths, user, password, okta))
    differences = [*lost, *(difference for run in runs for difference in run.differences)]
    summary = f"\n{sum(run.requests for run in runs)} requests in {time.monotonic() - start:.1f} s"
    if differences:
        say(f"{summary}. Not as it should be:", fg="red", bold=True)
        for difference in differences:
            say(f"  {difference}")
        sys.exit(1)
    say(f"{summary}, each accepted or refused as it should be.", fg="green")
    say("Next: make run, and in another terminal: .venv/bin/flask okta preview token")


class Run:
    """The requests to one running server, and its wrong answers."""

    def __init__(self, url: str):
        self.url = url
        self.requests = 0
        self.differences: list[str] = []

    def accept(self, samples, authentication: str, credentials, *, show: bool = True) -> None:
        """Print a row for each sample; without `show`, only for wrong answers."""
        for sample in samples:
            answer = self._send(sample, credentials)
            verdict = judge(sample.kind, sample.payload, answer)
            good = sample.is_as_expected(verdict)
            if show or not good:
                self._row(sample.name, authentication, answer, verdict.sentence, good)
        if samples and not show:
            outcome = f"sent {len(samples)} samples: Okta does the same as above"
            row("each of the inline hooks", authentication, answer, outcome, good=True)

    def verify(self, paths: list[str], credentials) -> None:
        for path in paths:
            self.requests += 1
            challenge = secrets.token_urlsafe(24)
            answer = client.verify(self.url + path, challenge, credentials=credentials)
            verdict = judge_verification(challenge, answer)
            self._row(f"verify {path}", "basic", answer, verdict.sentence, verdict.accepted)

    def refuse(self, samples, authentication: str, credentials, status: int, reason: str) -> None:
        """Print one row for all the samples, if every path refuses for the same reason."""
        refusals = {}
        for sample in samples:
            answer = self._send(sample, credentials)
            refusals[answer.status, _reason(answer)] = answer
        hooks = f"each of the {'event' if samples is EVENT_SAMPLES else 'inline'} hooks"
        for (_, given), answer in refusals.items():
            good = (answer.status, given) == (status, reason)
            outcome = f"refused: {given}" if answer.status in (401, 403) else given
            self._row(hooks, authentication, answer, outcome, good)

    def _send(self, sample, credentials) -> client.Answer:
        self.requests += 1
        url = self.url + sample.path
        return client.send(url, sample.payload, kind=sample.kind, credentials=credentials)

    def _row(self, request, authentication, answer, outcome, good) -> None:
        row(request, authentication, answer, outcome, good=good)
        if not good:
            self.differences.append(f"{request}, {authentication}: {answer.status}, {outcome}")


def _reason(answer: client.Answer) -> str:
    """Why a request was refused, as far as WWW-Authenticate says (RFC 6750, 3)."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    error = re.search(r'\berror="([^"]*)"', challenge)
    if error:
        return error[1]
    return f"asks for {challenge.split(' ')[0]}" if challenge else answer.error or "not refused"


def basic_mode(url: str, paths: list[str], user: str, password: str) -> Run:
    """Basic for all hooks, then what must be refused."""
    run = Run(url)
    right, wrong = client.basic(user, password), client.basic(user, secrets.token_urlsafe(24))
    run.verify(paths, right)
    run.accept(SAMPLES.values(), "basic", right)
    for samples in (EVENT_SAMPLES, INLINE_SAMPLES):
        run.refuse(samples, "no credentials", client.no_credentials, 401, "asks for Basic")
        run.refuse(samples, "wrong password", wrong, 401, "asks for Basic")
    return run


def oauth_mode(url: str, paths: list[str], user: str, password: str, okta: LocalOkta) -> Run:
    """Tokens for inline hooks, Basic for event hooks, then what must be refused."""
    run = Run(url)
    target, scope = (okta.token_endpoint, okta.client_id), okta.scopes[0]
    basic, wrong = client.basic(user, password), client.basic(user, secrets.token_urlsafe(24))
    secret = client.client_secret(*target, okta.client_secret, scope)
    run.verify(paths, basic)
    run.accept(EVENT_SAMPLES, "basic", basic)
    run.accept(INLINE_SAMPLES, "client secret", secret)
    private_key = client.private_key(*target, okta.client_key, scope)
    run.accept(INLINE_SAMPLES, "private key", private_key, show=False)

    run.refuse(EVENT_SAMPLES, "no credentials", client.no_credentials, 401, "asks for Basic")
    run.refuse(EVENT_SAMPLES, "wrong password", wrong, 401, "asks for Basic")
    run.refuse(EVENT_SAMPLES, "a good token", secret, 401, "asks for Basic")
    run.refuse(INLINE_SAMPLES, "no credentials", client.no_credentials, 401, "asks for Bearer")
    run.refuse(INLINE_SAMPLES, "basic", basic, 401, "asks for Bearer")
    for authentication, token in WRONG_TOKENS.items():
        outcome = REFUSALS.get(authentication, (401, "invalid_token"))
        run.refuse(INLINE_SAMPLES, authentication, client.bearer(token(okta)), *outcome)
    return run


def environment_with(**settings: str) -> dict[str, str]:
    # Empty means "not set", whatever a user's .env says.
    unset = {each.name.upper(): "" for each in fields(current_app.config["SETTINGS"])}
    system = {name: os.environ[name] for name in FROM_THE_SYSTEM if name in os.environ}
    return system | unset | settings


@contextlib.contextmanager
def service(*, port: int = 0, **settings: str):
    """Run the service under gunicorn with these settings. Yields its URL. Port 0: any free one."""
    with socket.create_server((HOST, port)) as free:
        port = free.getsockname()[1]
    url = f"http://{HOST}:{port}"
    say(f"\ngunicorn with AUTH_MODE={settings['AUTH_MODE']} on {url} …", bold=True)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(  # noqa: S603 - no input from outside
            [sys.executable, "-m", "gunicorn", "-b", f"{HOST}:{port}"],
            cwd=current_app.root_path,
            env=environment_with(WEB_CONCURRENCY="1", **settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            start = time.monotonic()
            while client.get(f"{url}/readyz").status != 200:
                if process.poll() is not None or time.monotonic() > start + SECONDS_TO_START:
                    output.seek(0)
                    message = f"gunicorn did not start. Its output:\n\n{output.read()}"
                    raise click.ClickException(message)
                time.sleep(0.05)
            say(f"ready after {time.monotonic() - start:.1f} s\n")
            yield url
        finally:
            process.terminate()
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
            finally:
                # Usually it has ended by now. A second Ctrl-C must not leave it running.
                process.kill()
                process.wait()
