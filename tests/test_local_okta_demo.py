"""The demo must notice a service that is not as it should be."""

import contextlib

import click
import pytest
from flask import Flask, request

from app import create_app
from local_okta import demo
from local_okta.authorization_server import LocalOkta
from local_okta.client import basic_header
from local_okta.credentials import WRONG_TOKENS
from settings import Settings
from tests.service import serving

USER, PASSWORD = "okta", "a password"


@contextlib.contextmanager
def guarded_by(guard):
    """A service that answers every hook with 204, if `guard` lets it; gives its address."""
    app = Flask("stub")
    app.before_request(guard)
    app.add_url_rule("/<path:path>", view_func=lambda path: ("", 204), methods=["POST"])
    with serving(app) as url:
        yield url


def test_a_service_that_lets_everything_through_is_noticed():
    with guarded_by(lambda: None) as url, LocalOkta() as okta:
        run = demo.oauth_mode(url, [], USER, PASSWORD, okta)
    missed = {line.split(": 204", 1)[0] for line in run.differences if "not refused" in line}
    authentications = {
        "event hooks": ["no credentials", "wrong password", "a good token"],
        "inline hooks": ["no credentials", "basic", *WRONG_TOKENS],
    }
    assert missed == {
        f"each of the {hooks}, {authentication}"
        for hooks in authentications
        for authentication in authentications[hooks]
    }


def test_one_unguarded_path_is_noticed():
    unguarded = demo.INLINE_SAMPLES[0].path

    def guard():
        authorized = request.headers.get("Authorization") == basic_header(USER, PASSWORD)
        if not authorized and request.path != unguarded:
            return "", 401, {"WWW-Authenticate": 'Basic realm="x"'}
        return None

    with guarded_by(guard) as url:
        run = demo.basic_mode(url, [], USER, PASSWORD)
    assert [line for line in run.differences if "each of" in line] == [
        "each of the inline hooks, no credentials: 204, not refused",
        "each of the inline hooks, wrong password: 204, not refused",
    ]


def test_an_answer_that_does_too_little_and_an_event_hook_that_is_not_verified_are_noticed():
    with guarded_by(lambda: None) as url:
        run = demo.basic_mode(url, ["/onPathOfItsOwn"], USER, PASSWORD)
    assert "token, basic: 204, Okta issues the tokens unchanged" in run.differences
    assert any(line.startswith("verify /onPathOfItsOwn, basic: 405") for line in run.differences)


def test_a_sample_without_an_expected_outcome_is_right_when_okta_can_use_the_answer():
    sample = demo.INLINE_SAMPLES[0]
    unexpected = type(sample)(sample.name, sample.kind, sample.path, sample.about)
    with guarded_by(lambda: None) as url:
        run = demo.Run(url)
        run.accept([unexpected], "basic", lambda deadline: None)
    assert run.differences == []


def test_a_gunicorn_that_does_not_start_is_shown():
    app = create_app(Settings())
    with (
        app.app_context(),
        pytest.raises(click.ClickException, match="BASIC_AUTH_PASSWORD"),
        demo.service(AUTH_MODE="basic"),
    ):
        pass
