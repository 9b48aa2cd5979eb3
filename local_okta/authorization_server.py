"""Okta's custom authorization server, as far as a hook needs it.

Authlib answers the token endpoint (RFC 6749, 4.4: client credentials). The tokens have the shape
of Okta's own, which is older than RFC 9068 and differs from it.
Reference: https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/
"""

import hmac
import json
import secrets
import socket
import threading
import time
from collections import Counter

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant as _ClientCredentialsGrant
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, abort, request
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode
from werkzeug.serving import WSGIRequestHandler, make_server

HOST = "127.0.0.1"
PREFIX = "/oauth2/default"
METADATA_PATHS = (
    f"{PREFIX}/.well-known/oauth-authorization-server",
    f"{PREFIX}/.well-known/openid-configuration",
)
KEY_ROTATION = "/api/v1/authorizationServers/default/credentials/lifecycle/keyRotate"
CLIENT_AUTHENTICATIONS = ["client_secret_post", "private_key_jwt"]
TOKEN_LIFETIME = 3600


class LocalOkta:
    """An authorization server on a loopback port, with one client that may call the hooks.

    Use it as a context manager, or call `start()` and `stop()`. `issuer` is known once it has
    started; a second `start()` takes the same port again, so a test can show an outage and its end.
    To make it misbehave, wrap its WSGI application: `okta.app.wsgi_app = Slow(okta.app.wsgi_app)`.

    `requests` counts what it was asked, by path: `okta.requests["/oauth2/default/v1/keys"]`.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        client_key: RSAKey | None = None,
        audience: str = "api://default",
        scopes: tuple[str, ...] = ("hooks",),
        port: int = 0,
    ):
        """Whatever of the client is not given is made up. Port 0 means any free one."""
        self.client_id = client_id or made_up_client_id()
        self.client_secret = client_secret or secrets.token_urlsafe(48)
        self.client_key = client_key or new_key()
        self.audience = audience
        self.scopes = scopes
        self.port = port
        self.keys = (new_key(),)
        self.requests: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._server = None
        self._thread = None
        self.app = _create_app(self)

    @property
    def issuer(self) -> str:
        return f"http://{HOST}:{self.port}{PREFIX}"

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/v1/token"

    @property
    def jwks_uri(self) -> str:
        return f"{self.issuer}/v1/keys"

    @property
    def key_requests(self) -> int:
        """How often the issuer was asked for its metadata or its keys."""
        return sum(self.requests[path] for path in (*METADATA_PATHS, f"{PREFIX}/v1/keys"))

    def start(self) -> "LocalOkta":
        """Serve in a thread. Raises OSError where the port is taken."""
        # werkzeug ends the whole process when it cannot bind, so it gets a bound socket.
        with socket.create_server((HOST, self.port)) as listener:
            self._server = make_server(
                HOST,
                self.port,
                self._count,
                threaded=True,
                request_handler=_Handler,
                fd=listener.fileno(),
            )
        self.port = self._server.port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="local-okta", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port: from now on a connection is refused."""
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> "LocalOkta":
        return self.start()

    def __exit__(self, *exc_info) -> None:
        if self._server is not None:
            self.stop()

    def rotate_keys(self, *, keep_old: bool = True) -> str:
        """Sign with a new key from now on; return its `kid`.

        Okta goes on publishing the old key for a while; `keep_old=False` withdraws it at once.
        """
        self.keys = (new_key(), self.keys[0]) if keep_old else (new_key(),)
        return self.keys[0].kid

    def claims(self, **overrides) -> dict:
        """The claims of an access token for the client, `overrides` in place of Okta's values."""
        now = int(time.time())
        return {
            "ver": 1,
            "jti": f"AT.{secrets.token_urlsafe(32)}",
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now,
            "exp": now + TOKEN_LIFETIME,
            "cid": self.client_id,
            "scp": list(self.scopes),
            "sub": self.client_id,
        } | overrides

    def sign(self, claims: dict, header: dict | None = None, key: RSAKey | None = None) -> str:
        """A JWT with any claims, any header fields beside `kid` and `alg`, from any key.

        The signature is always RS256, whatever the header says; with alg "none" it is empty.
        """
        header = {"kid": self.keys[0].kid, "alg": "RS256"} | (header or {})
        signing_input = b".".join(
            urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims)
        )
        signature = b""
        if str(header["alg"]).lower() != "none":
            signature = JWSRegistry.algorithms["RS256"].sign(signing_input, key or self.keys[0])
        return f"{signing_input.decode()}.{urlsafe_b64encode(signature).decode()}"

    def issue(self, **claim_overrides) -> str:
        """An access token as the token endpoint would issue it, with some claims changed."""
        return self.sign(self.claims(**claim_overrides))

    def key_set(self) -> dict:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def metadata(self) -> dict:
        """Authorization server metadata (RFC 8414, 2)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/v1/authorize",
            "token_endpoint": self.token_endpoint,
            "jwks_uri": self.jwks_uri,
            "scopes_supported": list(self.scopes),
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": CLIENT_AUTHENTICATIONS,
            "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        }

    def _count(self, environ, start_response):
        with self._counting:
            self.requests[environ["PATH_INFO"]] += 1
        return self.app(environ, start_response)


def new_key() -> RSAKey:
    """An RSA key of 2048 bits for RS256, with a `kid` of Okta's length."""
    parameters = {"kid": secrets.token_urlsafe(32), "use": "sig", "alg": "RS256"}
    return RSAKey.generate_key(2048, parameters)


def made_up_client_id() -> str:
    """A client ID that looks like Okta's."""
    return f"0oa{secrets.token_hex(8)}0"


def _create_app(okta: LocalOkta) -> Flask:
    app = Flask("local_okta")
    app.json.sort_keys = False
    app.config["OAUTH2_SCOPES_SUPPORTED"] = okta.scopes
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": TOKEN_LIFETIME}
    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = lambda scope, **_: okta.issue(scp=scope.split())

    client = _Client(okta)
    server = AuthorizationServer(
        app,
        query_client=lambda client_id: client if client_id == okta.client_id else None,
        # An access token that carries its own claims needs no store.
        save_token=lambda token, request: None,
    )
    server.register_grant(ClientCredentialsGrant)
    server.register_client_auth_method("private_key_jwt", PrivateKeyJWT(okta))

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

    def __init__(self, okta: LocalOkta):
        super().__init__()
        self._okta = okta
        self._used = set()

    def get_audiences(self):
        return [self._okta.token_endpoint]

    def resolve_client_public_key(self, client):
        return self._okta.client_key

    def validate_jti(self, claims, jti):
        if jti in self._used:
            return False
        self._used.add(jti)
        return True


class _Client(ClientMixin):
    """The one client. Okta binds an app to one client authentication; this one may use both."""

    def __init__(self, okta: LocalOkta):
        self._okta = okta

    def check_client_secret(self, client_secret):
        return hmac.compare_digest(self._okta.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method in CLIENT_AUTHENTICATIONS

    def check_grant_type(self, grant_type):
        return grant_type == ClientCredentialsGrant.GRANT_TYPE

    def get_allowed_scope(self, scope):
        if not scope:
            raise InvalidScopeError("The 'scope' parameter is needed: no scope is a default one.")
        return scope


class _Handler(WSGIRequestHandler):
    # One request a connection: a connection kept alive would outlive stop() and hide an outage.
    protocol_version = "HTTP/1.0"

    def log_request(self, *args):
        """Nothing: whoever serves says what is worth showing."""
