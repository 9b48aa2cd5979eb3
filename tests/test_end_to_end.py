"""The whole way, as a newcomer goes it: the demo, with every hook and every authentication."""

import subprocess
import sys

import pytest

from local_okta import client
from local_okta.judge import judge
from local_okta.samples import SAMPLES
from tests.service import BASIC_PAIR, PROJECT


def test_the_demo_finds_everything_as_it_should_be():
    done = subprocess.run(
        [sys.executable, "-m", "flask", "okta", "demo"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each accepted or refused as it should be" in done.stdout


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("authentication", ["basic", "client_secret", "private_key"])
def test_okta_can_use_every_answer(okta, sample, authentication, basic_service, oauth_service):
    if authentication == "basic" or sample.kind == "event":
        credentials = client.basic(*BASIC_PAIR)
    else:
        secret = {"client_secret": okta.client_secret, "private_key": okta.client_key}
        credentials = getattr(client, authentication)(
            okta.token_endpoint, okta.client_id, secret[authentication], okta.scopes[0]
        )
    service = basic_service if authentication == "basic" else oauth_service
    url = service.url + sample.path
    answer = client.send(url, sample.payload, kind=sample.kind, credentials=credentials)
    if sample.kind == "telephony":
        # Under gunicorn no provider is chosen for you: Okta hears it, and sends the code itself.
        assert answer.json["error"]["errorCauses"][0]["reason"] == "NOT_DELIVERED"
    verdict = judge(sample.kind, sample.payload, answer)
    assert verdict.accepted, verdict.sentence
