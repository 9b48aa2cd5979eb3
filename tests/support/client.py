"""The hooks, without the guard and without a server."""

import copy
import os
import tempfile
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from hooks import register_hooks
from hooks.contract import error_response
from settings import load_settings
from tests.support.gunicorn import basic_settings

# Removed when the process ends.
FOLDER = tempfile.TemporaryDirectory(prefix="okta-hooks-")
SETTINGS = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{FOLDER.name}/events.sqlite")


def hook_client(**config) -> FlaskClient:
    """A client of an app that has only the hooks. Exceptions of a hook reach the test."""
    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        MAX_CONTENT_LENGTH=1_000_000,
        SETTINGS=load_settings(SETTINGS, Path(os.devnull)),
    )
    app.config.update(config)
    register_hooks(app)

    @app.errorhandler(HTTPException)
    def refuse(error):
        response = error_response(error.code, error.description, getattr(error, "causes", ()))
        response.headers.extend({"Retry-After": error.retry_after} if error.code == 503 else {})
        return response

    return app.test_client()


def changed(payload: dict, fields: dict) -> dict:
    """The payload with some fields set, by dotted path."""
    body = copy.deepcopy(payload)
    for path, value in fields.items():
        parent, name = _parent(body, path)
        parent[name] = value
    return body


def without(payload: dict, *paths: str) -> dict:
    """The payload with some fields left out."""
    body = copy.deepcopy(payload)
    for path in paths:
        parent, name = _parent(body, path)
        del parent[name]
    return body


def refused_field(response) -> tuple[str, str]:
    """The reason and the path that a 400 names."""
    assert response.status_code == 400
    [cause] = response.json["error"]["errorCauses"]
    assert cause["errorSummary"] == response.json["error"]["errorSummary"]
    assert cause["locationType"] == "body"
    return cause["reason"], cause["location"]


def _parent(body: dict, path: str) -> tuple[dict, str]:
    *parents, name = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    return body, name
