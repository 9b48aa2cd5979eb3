"""`make demo`: the service under gunicorn, called as Okta calls it, rightly and wrongly.

Every credential is made up for the run, every port is free and on loopback, and nothing of the
user's own settings is read: not the environment, not `.env`.
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
from pathlib import Path

from local_okta import client
from local_okta.authorization_server import HOST, LocalOkta, new_key
from local_okta.judge import judge, judge_verification
from local_okta.samples import EVENT_HOOK_PATHS, SAMPLES
from local_okta.terminal import heading, row, say

PROJECT = Path(__file__).parent.parent
SECONDS_TO_START = 20

# Every name that the service reads. Empty means "not set", whatever a user's .env says.
UNSET = dict.fromkeys(
    [
        "AUTH_MODE",
        "BASIC_AUTH_USER",
        "BASIC_AUTH_PASSWORD",
        "BASIC_AUTH_PASSWORD_PREVIOUS",
        "OKTA_ISSUER",
        "OKTA_AUDIENCE",
        "OKTA_CLIENT_ID",
        "OKTA_SCOPE",
        "REGISTRATION_ALLOWED_DOMAINS",
        "MAX_CONTENT_LENGTH",
        "TELEPHONY_PROVIDER",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_FROM_NUMBER",
        "LOG_LEVEL",
        "LOG_FORMAT",
    ],
    "",
)
FROM_THE_SYSTEM = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")

# What each sample must bring about: status, and how the judge's sentence goes on after "Okta ".
OUTCOMES = {
    "event-user-deactivated": (204, "takes the events as delivered"),
    "event-user-created": (204, "takes the events as delivered"),
    "registration-self-service": (200, "allows the registration"),
    "registration-self-service-denied": (200, "denies the registration and shows '"),
    "registration-progressive": (200, "sets employeeNumber in the profile"),
    "registration-progressive-denied": (200, "denies the profile update and shows '"),
    "registration-both": (200, "allows the registration"),
    "token": (200, "adds extPatientId to the ID token"),
    "saml": (200, "adds extPatientId to the assertion"),
    "password-import": (200, "imports the password"),
    "password-import-wrong": (200, "does not let the user sign in"),
    "telephony": (200, "takes the code as sent by console"),
    "telephony-voice": (200, "takes the code as sent by console"),
    "user-import": (200, "sets login in the user's profile"),
    "user-import-matched": (200, "takes the user for one that it has and links it to"),
}

EVENT_SAMPLES = [sample for sample in SAMPLES.values() if sample.kind == "event"]
INLINE_SAMPLES = [sample for sample in SAMPLES.values() if sample.kind != "event"]


class ServerFailed(Exception):
    """gunicorn did not start; `str()` says so and repeats what it said."""


class Run:
    """The calls to one running server, and what was not as it should be."""

    def __init__(self, url: str):
        self.url = url
        self.calls = 0
        self.differences: list[str] = []

    def accept(self, samples, authentication: str, credentials: client.Credentials) -> None:
        for sample in samples:
            answer = self._call(sample, credentials)
            verdict = judge(sample.kind, sample.payload, answer)
            status, words = OUTCOMES[sample.name]
            good = (
                verdict.accepted
                and answer.status == status
                and verdict.sentence.startswith(f"Okta {words}")
            )
            self._row(sample.name, authentication, answer, verdict.sentence, good)

    def verify(self, credentials: client.Credentials) -> None:
        for path in EVENT_HOOK_PATHS:
            self.calls += 1
            challenge = secrets.token_urlsafe(24)
            answer = client.verify(self.url + path, challenge, credentials=credentials)
            verdict = judge_verification(challenge, answer)
            name = f"verify {path}"
            self._row(name, "basic", answer, verdict.sentence, verdict.accepted)

    def refuse(self, samples, authentication: str, credentials, status: int, reason: str) -> None:
        """One row for all the samples: every path refuses, and for the same reason."""
        refusals = {}
        for sample in samples:
            answer = self._call(sample, credentials)
            refusals[answer.status, _reason(answer)] = answer
        hooks = f"each of the {'event' if samples is EVENT_SAMPLES else 'inline'} hooks"
        for (_, given), answer in refusals.items():
            good = (answer.status, given) == (status, reason)
            outcome = f"refused: {given}" if answer.status in (401, 403) else given
            self._row(hooks, authentication, answer, outcome, good)

    def _call(self, sample, credentials) -> client.Answer:
        self.calls += 1
        return client.send(
            self.url + sample.path, sample.payload, kind=sample.kind, credentials=credentials
        )

    def _row(self, hook, authentication, answer, outcome, good) -> None:
        row(hook, authentication, answer, outcome, good=good)
        if not good:
            self.differences.append(f"{hook}, {authentication}: {answer.status}, {outcome}")


def _reason(answer: client.Answer) -> str:
    """Why a call was refused, as far as WWW-Authenticate says it (RFC 6750, 3)."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    error = re.search(r'\berror="([^"]*)"', challenge)
    if error:
        return error[1]
    return f"{challenge.split(' ')[0]} asked for" if challenge else answer.error or "not refused"


def basic_mode(url: str, user: str, password: str) -> Run:
    """Basic for all hooks, then what must not pass."""
    run = Run(url)
    right = client.basic(user, password)
    run.verify(right)
    run.accept(SAMPLES.values(), "basic", right)
    for samples in (EVENT_SAMPLES, INLINE_SAMPLES):
        run.refuse(samples, "no credentials", client.no_credentials, 401, "Basic asked for")
        wrong = client.basic(user, secrets.token_urlsafe(24))
        run.refuse(samples, "wrong password", wrong, 401, "Basic asked for")
    return run


def oauth_mode(url: str, user: str, password: str, okta: LocalOkta) -> Run:
    """Tokens for inline hooks, Basic for event hooks, then what must not pass."""
    run = Run(url)
    client_id, scope = okta.client_id, okta.scopes[0]
    basic = client.basic(user, password)
    secret = client.client_secret(okta.token_endpoint, client_id, okta.client_secret, scope)
    key = client.private_key(okta.token_endpoint, client_id, okta.client_key, scope)
    run.verify(basic)
    run.accept(EVENT_SAMPLES, "basic", basic)
    run.accept(INLINE_SAMPLES, "client secret", secret)
    run.accept(INLINE_SAMPLES, "private key", key)

    run.refuse(EVENT_SAMPLES, "no credentials", client.no_credentials, 401, "Basic asked for")
    wrong = client.basic(user, secrets.token_urlsafe(24))
    run.refuse(EVENT_SAMPLES, "wrong password", wrong, 401, "Basic asked for")
    run.refuse(EVENT_SAMPLES, "a good token", secret, 401, "Basic asked for")
    run.refuse(INLINE_SAMPLES, "no credentials", client.no_credentials, 401, "Bearer asked for")
    run.refuse(INLINE_SAMPLES, "basic", basic, 401, "Bearer asked for")
    for authentication, token in _wrong_tokens(okta).items():
        credentials = client.bearer(token)
        run.refuse(INLINE_SAMPLES, authentication, credentials, 401, "invalid_token")
    no_scope = client.bearer(okta.issue(scp=["other"]))
    run.refuse(INLINE_SAMPLES, "missing scope", no_scope, 403, "insufficient_scope")
    return run


def _wrong_tokens(okta: LocalOkta) -> dict[str, str]:
    past = int(time.time()) - 7200
    signed, _, signature = okta.issue().rpartition(".")
    header, _, _ = signed.partition(".")
    _, other_claims, _ = okta.issue(sub="somebody-else").split(".")
    return {
        "expired": okta.issue(iat=past, exp=past + 3600),
        "wrong audience": okta.issue(aud="api://other"),
        "wrong client": okta.issue(cid="0oaSomebodyElse"),
        "foreign key": okta.sign(okta.claims(), key=new_key()),
        "alg none": okta.sign(okta.claims(), {"alg": "none"}),
        "tampered claims": f"{header}.{other_claims}.{signature}",
    }


@contextlib.contextmanager
def service(**settings: str):
    """The service under gunicorn with these settings; gives its address. Raises ServerFailed."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    url = f"http://{HOST}:{port}"
    system = {name: os.environ[name] for name in FROM_THE_SYSTEM if name in os.environ}
    environment = system | UNSET | {"WEB_CONCURRENCY": "2"} | settings
    say(f"\ngunicorn with AUTH_MODE={settings['AUTH_MODE']} on {url} …", bold=True)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
            [sys.executable, "-m", "gunicorn", "-b", f"{HOST}:{port}"],
            cwd=PROJECT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            start = time.monotonic()
            while client.get(f"{url}/readyz").status != 200:
                if process.poll() is not None or time.monotonic() > start + SECONDS_TO_START:
                    output.seek(0)
                    raise ServerFailed(f"gunicorn did not start. It said:\n\n{output.read()}")
                time.sleep(0.05)
            say(f"ready after {time.monotonic() - start:.1f} s\n")
            yield url
        finally:
            process.terminate()
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
            finally:
                # Nothing to kill as a rule; a second Ctrl-C leaves nothing running either.
                process.kill()
                process.wait()


def main() -> int:
    """Print the table; the exit status is 0 if all came back as it should."""
    start = time.monotonic()
    user, password = "okta", secrets.token_urlsafe(24)
    common = {
        "BASIC_AUTH_USER": user,
        "BASIC_AUTH_PASSWORD": password,
        "TELEPHONY_PROVIDER": "console",
    }
    runs = []
    with LocalOkta() as okta:
        say(f"The local Okta issues tokens on {okta.issuer}", bold=True)
        with service(AUTH_MODE="basic", **common) as url:
            heading()
            runs.append(basic_mode(url, user, password))
        oauth = {
            "AUTH_MODE": "oauth",
            "OKTA_ISSUER": okta.issuer,
            "OKTA_CLIENT_ID": okta.client_id,
            "OKTA_SCOPE": okta.scopes[0],
        }
        with service(**oauth, **common) as url:
            heading()
            runs.append(oauth_mode(url, user, password, okta))
    differences = [difference for run in runs for difference in run.differences]
    calls = sum(run.calls for run in runs)
    seconds = time.monotonic() - start
    if differences:
        say(f"\n{calls} calls in {seconds:.1f} s. Not as it should be:", fg="red", bold=True)
        for difference in differences:
            say(f"  {difference}")
        return 1
    say(
        f"\n{calls} calls in {seconds:.1f} s, each accepted or refused as it should be.", fg="green"
    )
    return 0


if __name__ == "__main__":
    # So that gunicorn is stopped as well where this is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except ServerFailed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
