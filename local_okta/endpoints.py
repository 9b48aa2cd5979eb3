"""The endpoints of the local Okta: metadata, keys, token, and the rotation of keys.

Authlib answers the token endpoint (RFC 6749, 4.4: client credentials).
"""

import hmac

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant as _ClientCredentialsGrant
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, abort, request

PREFIX = "/oauth2/default"
METADATA_PATHS = (
    f"{PREFIX}/.well-known/oauth-authorization-server",
    f"{PREFIX}/.well-known/openid-configuration",
)
KEY_ROTATION = "/api/v1/authorizationServers/default/credentials/lifecycle/keyRotate"
CLIENT_AUTHENTICATIONS = ["client_secret_post", "private_key_jwt"]
TOKEN_LIFETIME = 3600


def create_okta_app(okta) -> Flask:
    """The WSGI application of a `LocalOkta`."""
    app = Flask("local_okta")
    app.json.sort_keys = False
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": TOKEN_LIFETIME}

    def access_token(client, scope, **_):
        return okta.issue(scp=scope.split(), cid=client.client_id, sub=client.client_id)

    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = access_token
    client = _Client(okta)

    def client_by_id(client_id):
        return client if client_id == okta.client_id else okta.management.state.client(client_id)

    server = AuthorizationServer(
        app,
        query_client=client_by_id,
        # An access token that carries its own claims need not be stored.
        save_token=lambda token, request: None,
    )
    server.register_grant(ClientCredentialsGrant)
    server.register_client_auth_method("private_key_jwt", PrivateKeyJWT(okta))

    app.register_blueprint(okta.management.blueprint())
    for path in METADATA_PATHS:
        app.add_url_rule(path, "metadata", okta.metadata)
    app.add_url_rule(f"{PREFIX}/v1/keys", "keys", okta.key_set)
    app.add_url_rule(f"{PREFIX}/v1/token", "token", server.create_token_response, methods=["POST"])

    @app.post(KEY_ROTATION)
    def rotate_keys():
        if request.get_json() != {"use": "sig"}:
            abort(400)
        okta.rotate_keys()
        return [key.as_dict(private=False) for key in okta.keys]

    return app


class ClientCredentialsGrant(_ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTHENTICATIONS


class PrivateKeyJWT(JWTBearerClientAssertion):
    """Client authentication by a signed assertion (RFC 7523, 2.2)."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, okta):
        super().__init__()
        self._okta = okta
        self._used = set()

    def get_audiences(self):
        return [self._okta.token_endpoint]

    def resolve_client_public_key(self, client):
        return client.public_keys

    def validate_jti(self, claims, jti):
        if jti in self._used:
            return False
        self._used.add(jti)
        return True


class _Client(ClientMixin):
    """The client that exists from the start. An app in Okta authenticates in one way, this in both.

    It gets a token for each of the server's own scopes, without a policy.
    """

    def __init__(self, okta):
        self._okta = okta
        self.client_id, self.public_keys = okta.client_id, okta.client_key

    def check_client_secret(self, client_secret):
        return hmac.compare_digest(self._okta.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method in CLIENT_AUTHENTICATIONS

    def check_grant_type(self, grant_type):
        return grant_type == ClientCredentialsGrant.GRANT_TYPE

    def get_allowed_scope(self, scope):
        if not scope:
            raise InvalidScopeError("The 'scope' parameter is required: there is no default scope.")
        if not set(scope.split()) <= set(self._okta.scopes):
            raise InvalidScopeError
        return scope
