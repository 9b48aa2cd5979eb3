"""Okta's custom authorization server, as far as a hook needs it.

The tokens have the shape of Okta's own, which is older than RFC 9068 and differs from it.
Reference: https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/
"""

import json
import secrets
import socket
import threading
import time
from collections import Counter

from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode
from werkzeug.serving import WSGIRequestHandler, make_server

from local_okta.endpoints import (
    CLIENT_AUTHENTICATIONS,
    METADATA_PATHS,
    PREFIX,
    TOKEN_LIFETIME,
    create_okta_app,
)
from local_okta.management import Management

HOST = "127.0.0.1"


class LocalOkta:
    """An authorization server on a loopback port, with one client, whose tokens the hooks accept.

    Use it as a context manager, or call `start()` and `stop()`. `issuer` is known once it has
    started; a second `start()` takes the same port again, so a test can show an outage and its end.
    To simulate faults, wrap its WSGI application: `okta.app.wsgi_app = Slow(okta.app.wsgi_app)`.

    `requests` counts the requests to it by path: `okta.requests["/oauth2/default/v1/keys"]`.
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
        """Anything not given is made up. Port 0 means any free port."""
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
        self.management = Management(self)
        self.app = create_okta_app(self)

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
        """How many requests for its metadata or its keys the issuer has received."""
        return sum(self.requests[path] for path in (*METADATA_PATHS, f"{PREFIX}/v1/keys"))

    def start(self) -> "LocalOkta":
        """Serve in a thread. Raises OSError if the port is taken."""
        # werkzeug exits the process if it cannot bind, so it gets a socket that is already bound.
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
        """Close the port: from now on, connections are refused."""
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
        """The claims of an access token for the client, `overrides` replacing Okta's values."""
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
        """A JWT with any claims and header fields (`kid` and `alg` have defaults), from any key.

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
            "scopes_supported": self.management.state.public_scopes(),
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


class _Handler(WSGIRequestHandler):
    # One request per connection: if it were kept alive, it would outlive stop() and hide an outage.
    protocol_version = "HTTP/1.0"

    def log_request(self, *args):
        """Log nothing: `flask okta serve` prints its own lines."""
