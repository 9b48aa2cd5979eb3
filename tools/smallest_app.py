"""The apps that `make bench` compares the service with. Do not deploy either of them."""

import os

import requests
from flask import Flask, request
from joserfc import jwt
from joserfc.jwk import KeySet


def smallest() -> Flask:
    """Parse the same JSON as the token hook and give the same answer, without authentication."""
    app = Flask("smallest")
    app.json.sort_keys = False

    @app.post("/tokenHook")
    def enrich_tokens():
        login = request.get_json()["data"]["identity"]["claims"]["preferred_username"]
        patient_id = {"jessie.smith@example.com": "1235"}[login]
        operation = {"op": "add", "path": "/claims/extPatientId", "value": patient_id}
        return {"commands": [{"type": "com.okta.identity.patch", "value": [operation]}]}

    @app.get("/healthz")
    def healthz():
        return ""

    return app


def fetching() -> Flask:
    """The same, but it checks the token with keys that it fetches for every request."""
    app = smallest()

    @app.before_request
    def check_token():
        if request.path == "/tokenHook":
            answer = requests.get(f"{os.environ['OKTA_ISSUER']}/v1/keys", timeout=2)
            token = request.headers["Authorization"].removeprefix("Bearer ")
            jwt.decode(token, KeySet.import_key_set(answer.json()), algorithms=["RS256"])

    return app
