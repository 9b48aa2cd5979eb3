"""The hooks alone, without guard and server, and a good call for each of them."""

import copy

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from hooks import register_hooks
from hooks.contract import error_response
from hooks.telephony_providers import console

CALLS = {
    "/userDeactivated": {
        "eventId": "delivery-1",
        "data": {
            "events": [
                {
                    "uuid": "uuid-1",
                    "eventType": "user.lifecycle.deactivate",
                    "target": [{"type": "User", "alternateId": "ann@example.com"}],
                }
            ]
        },
    },
    "/userCreated": {
        "eventId": "delivery-2",
        "data": {
            "events": [
                {
                    "uuid": "uuid-2",
                    "eventType": "user.lifecycle.create",
                    "target": [{"type": "User", "alternateId": "bob@example.com"}],
                }
            ]
        },
    },
    "/registrationHookSSR": {
        "requestType": "self.service.registration",
        "data": {"userProfile": {"login": "ann@okta.com", "email": "ann@okta.com"}},
    },
    "/registrationHookPP": {
        "requestType": "progressive.profile",
        "data": {"userProfileUpdate": {"employeeNumber": "1234"}},
    },
    "/registrationHookSSRandPP": {
        "requestType": "self.service.registration",
        "data": {"userProfile": {"email": "ann@okta.com", "employeeNumber": "1234"}},
    },
    "/tokenHook": {
        "data": {
            "context": {"user": {"profile": {"login": "michelle.test@example.com"}}},
            "identity": {"claims": {"preferred_username": "michelle.test@example.com"}},
            "access": {"claims": {"sub": "michelle.test@example.com"}},
        }
    },
    "/SAMLHook": {
        "data": {
            "context": {"user": {"profile": {"login": "raj.gupta@example.com"}}},
            "assertion": {"claims": {}},
        }
    },
    "/passwordImport": {
        "data": {
            "context": {
                "credential": {"username": "jessie.smith@example.com", "password": "password1"}
            },
            "action": {"credential": "UNVERIFIED"},
        }
    },
    "/telephonyHook": {
        "data": {
            "messageProfile": {
                "msgTemplate": "Your code is ${code}",
                "phoneNumber": "+14155550123",
                "deliveryChannel": "SMS",
                "otpCode": "012345",
                "locale": "en",
            }
        }
    },
    "/userImport": {
        "data": {
            "context": {"matches": [], "conflicts": ["login"]},
            "action": {"result": "CREATE_USER"},
            "user": {"profile": {"login": "ann@example.com"}},
            "appUser": {
                "profile": {
                    "userName": "ann7",
                    "email": "ann@example.com",
                    "externalId": "u7",
                }
            },
        }
    },
}


def hook_client(**config) -> FlaskClient:
    """A client of an app that holds nothing but the hooks. What a hook raises, the test gets."""
    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        MAX_CONTENT_LENGTH=1_000_000,
        REGISTRATION_ALLOWED_DOMAINS=frozenset({"okta.com"}),
        TELEPHONY_SEND=console,
        TELEPHONY_PROVIDER="console",
    )
    app.config.update(config)
    register_hooks(app)

    @app.errorhandler(HTTPException)
    def refuse(error):
        return error_response(error.code, error.description, getattr(error, "causes", ()))

    return app.test_client()


def changed(hook: str, fields: dict) -> dict:
    """The good call of a hook with some fields set, by dotted path."""
    body = copy.deepcopy(CALLS[hook])
    for path, value in fields.items():
        parent, name = _parent(body, path)
        parent[name] = value
    return body


def without(hook: str, *paths: str) -> dict:
    """The good call of a hook with some fields left out."""
    body = copy.deepcopy(CALLS[hook])
    for path in paths:
        parent, name = _parent(body, path)
        del parent[name]
    return body


def refused_field(response) -> tuple[str, str]:
    """Reason and path that a 400 names."""
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
