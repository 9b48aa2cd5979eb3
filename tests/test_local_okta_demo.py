"""The demo must notice a service that is not as it should be. (tests/slow runs the whole demo.)"""

import contextlib

import click
import pytest
from flask import Flask, request

from app import create_app
from local_okta import demo
from local_okta.authorization_server import LocalOkta
from local_okta.client import Answer, basic_header
from local_okta.credentials import WRONG_TOKENS
from local_okta.judge import Verdict, judge
from local_okta.samples import SAMPLES, Sample
from settings import Settings
from tests.support.gunicorn import EVENT_HOOK, serving

PAIR = "okta", "a password"


@contextlib.contextmanager
def guarded_by(guard):
    """A service that answers every hook with 204, if `guard` lets it. Yields its address."""
    app = Flask("stub")
    app.before_request(guard)
    app.add_url_rule("/<path:path>", view_func=lambda path: ("", 204), methods=["POST"])
    with serving(app) as url:
        yield url


def test_a_service_that_lets_everything_through_is_noticed(monkeypatch):
    # One sample is enough to miss a refusal.
    monkeypatch.setattr(demo, "INLINE_SAMPLES", demo.INLINE_SAMPLES[:1])
    with guarded_by(lambda: None) as url, LocalOkta() as okta:
        run = demo.oauth_mode(url, [], *PAIR, okta)
    missed = {line.split(": 204", 1)[0] for line in run.differences if "not refused" in line}
    authentications = {
        "event hooks": EVENT_HOOK and ["no credentials", "wrong password", "a good token"],
        "inline hooks": ["no credentials", "basic", *WRONG_TOKENS],
    }
    assert missed == {
        f"each of the {hooks}, {authentication}"
        for hooks in authentications
        for authentication in authentications[hooks] or ()
    }


def test_one_unguarded_path_is_noticed():
    unguarded = demo.INLINE_SAMPLES[0].path

    def guard():
        if (
            request.headers.get("Authorization") != basic_header(*PAIR)
            and request.path != unguarded
        ):
            return "", 401, {"WWW-Authenticate": 'Basic realm="x"'}
        return None

    with guarded_by(guard) as url:
        run = demo.basic_mode(url, [], *PAIR)
    assert [line for line in run.differences if "each of" in line] == [
        "each of the inline hooks, no credentials: 204, not refused",
        "each of the inline hooks, wrong password: 204, not refused",
    ]


def test_an_answer_that_does_too_little_and_an_event_hook_that_is_not_verified_are_noticed():
    with guarded_by(lambda: None) as url:
        run = demo.basic_mode(url, ["/onItsOwnPath"], *PAIR)
    for sample in SAMPLES.values():
        verdict = judge(sample.kind, sample.payload, Answer(204))
        line = f"{sample.name}, basic: 204, {verdict.sentence}"
        assert (line in run.differences) is not sample.is_as_expected(verdict)
    assert any(line.startswith("verify /onItsOwnPath, basic: 405") for line in run.differences)


def test_without_an_expected_outcome_a_sample_is_right_when_okta_can_use_the_answer():
    sample = Sample("own", "token", "/own", "about")
    assert sample.is_as_expected(Verdict(True, "Okta does something"))
    assert not sample.is_as_expected(Verdict(False, "Okta does nothing"))


def test_the_output_of_a_gunicorn_that_does_not_start_is_shown():
    app = create_app(Settings())
    with (
        app.app_context(),
        pytest.raises(click.ClickException, match="BASIC_AUTH_PASSWORD"),
        demo.service(AUTH_MODE="basic"),
    ):
        pass


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_sample_is_of_the_kind_that_its_hook_expects(sample):
    app = create_app(Settings())
    endpoint, _ = app.url_map.bind("").match(sample.path, "POST")
    hook = app.blueprints[endpoint.partition(".")[0]]
    assert hook.event_type in (None, sample.payload["eventType"])
