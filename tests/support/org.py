"""An Okta org for the tests of `flask okta register`: the local Okta, and the requests to it."""

import contextlib
import copy
import io
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import flask
import pytest
from click.testing import Result
from flask import request
from joserfc.jwk import RSAKey
from werkzeug.wrappers import Request, Response

from app import create_app
from local_okta import client, management_collections
from local_okta.authorization_server import LocalOkta
from local_okta.management import API, ORGANIZATION
from local_okta.management_state import State
from local_okta.samples import SAMPLES
from settings import Settings, load_settings
from tests.support.gunicorn import app_with_commands, basic_settings, serving
from tests.support.page import BASIC

TOKEN = "00aTokenOfAnAdministrator"
AUTHENTICATIONS = ("basic", "client-secret", "private-key")
HOOKS = "token,events"
needs_these_hooks = pytest.mark.skipif(
    not {"token", "event-user-created"} <= SAMPLES.keys(), reason="the hooks were removed"
)
WRITES = ("POST", "PUT", "DELETE")


# To make an app with keys takes longer than the command.
app_of = cache(app_with_commands)


@dataclass
class Sent:
    """A request to the management API."""

    method: str
    path: str
    authorization: str | None
    body: dict | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class TriedOrg:
    """The local Okta with nothing in it, and what is asked of it.

    `fail_from` is the number of the writing request from which on Okta refuses them. With
    `break_after`, Okta does what it asks for, and the connection breaks before the answer.
    """

    def __init__(self, okta: LocalOkta, services: dict[str, str]):
        self.okta, self.services = okta, services
        self.wsgi_app = okta.app.wsgi_app
        self.sent: list[Sent] = []
        self.pauses: list[float] = []
        self.names_auth = True
        self.fail_from: int | None = None
        self.break_after: int | None = None

    def __call__(self, environ, start_response):
        asked = Request(environ)
        if not asked.path.startswith((API, ORGANIZATION)):
            return self.wsgi_app(environ, start_response)
        data = asked.get_data()
        environ["wsgi.input"] = io.BytesIO(data)
        body = json.loads(data) if data else None
        authorization = asked.headers.get("Authorization")
        self.sent.append(Sent(asked.method, asked.path, authorization, body))
        if asked.method in WRITES and self.fail_from and len(self.writes) >= self.fail_from:
            error = {"errorCode": "E0000001", "errorSummary": "refused", "errorId": "oaeFail"}
            return Response(json.dumps(error), 400)(environ, start_response)
        answer = self.wsgi_app(environ, start_response)
        if asked.method in WRITES and len(self.writes) == self.break_after:
            raise ConnectionAbortedError
        return answer

    @property
    def state(self) -> State:
        return self.okta.management.state

    @property
    def writes(self) -> list[Sent]:
        return [each for each in self.sent if each.method in WRITES]

    def settings(self, auth: str, **others) -> Settings:
        mode = "basic" if auth == "basic" else "oauth"
        own = {"auth_mode": mode, "okta_issuer": self.okta.issuer, "okta_scope": "calls"}
        return Settings(**(own | BASIC | others))

    def register(self, auth: str, *arguments: str, env=None, input=None, **settings) -> Result:
        """Run the command, for a service that runs with `auth`."""
        self.sent.clear()
        app = app_of(self.settings(auth, **settings))
        env = {"OKTA_API_TOKEN": TOKEN} if env is None else env
        options = [] if {"--remove", "--url"} & {*arguments} else ["--url", self.services[auth]]
        if self.names_auth and not {"--auth", "--remove"} & {*arguments}:
            options += ["--auth", auth]
        return app.test_cli_runner().invoke(
            args=["okta", "register", *options, *arguments],
            env={"OKTA_API_TOKEN": None, "OKTA_ACCESS_TOKEN": None} | env,
            input=input,
        )

    def snapshot(self) -> dict:
        """All that is in the org."""
        state, collections = self.state, {}
        for name in ("inline_hooks", "event_hooks", "hook_keys", "apps", "scopes", "policies"):
            collections[name] = copy.deepcopy(getattr(state, name).items)
        rules = {name: copy.deepcopy(each.items) for name, each in state.rules.items()}
        return collections | {"rules": {name: items for name, items in rules.items() if items}}


@contextlib.contextmanager
def running_services(okta: LocalOkta, folder: Path):
    """The service with Basic, and with tokens of any client that has the scope; gives addresses."""
    basic = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{folder}/events.sqlite")
    oauth = basic | {"AUTH_MODE": "oauth", "OKTA_ISSUER": okta.issuer, "OKTA_SCOPE": "calls"}
    apps = [create_app(load_settings(own, Path(os.devnull))) for own in (basic, oauth)]
    with serving(apps[0]) as basic_url, serving(apps[1]) as oauth_url:
        yield {"basic": basic_url, "client-secret": oauth_url, "private-key": oauth_url}


@pytest.fixture(scope="module")
def okta_and_services(tmp_path_factory):
    """A local Okta and the addresses of the services, which the tests of a file share."""
    with LocalOkta() as okta, running_services(okta, tmp_path_factory.mktemp("events")) as urls:
        yield okta, urls


@pytest.fixture
def org(okta_and_services, monkeypatch) -> TriedOrg:
    """An empty org. No test waits for a new key, nor for a pause before a request is repeated."""
    okta, services = okta_and_services
    key = okta.client_key.as_dict(private=True)

    def generate_key(size, parameters):
        return RSAKey.import_key(key | parameters)

    monkeypatch.setattr(management_collections.RSAKey, "generate_key", generate_key)
    # On a busy machine an answer may take longer than Okta waits.
    monkeypatch.setattr(client, "SECONDS", 60.0)
    okta.management.state.__init__(okta)
    okta.management.fault = None
    org = TriedOrg(okta, services)
    monkeypatch.setattr(okta.app, "wsgi_app", org)
    monkeypatch.setattr("commands.register.client.sleep", org.pauses.append)
    return org


def only(items: dict) -> dict:
    [item] = items.values()
    return item


def answers_for(end_of_path: str, body, status: int = 200, headers=None, method: str | None = None):
    """A fault (see `Management.fault`) that answers the requests for one path."""

    def fault():
        if request.path.endswith(end_of_path) and method in (None, request.method):
            return flask.Response(body, status, headers)
        return None

    return fault
