"""OAuth 2.0: check the access token that Okta sends with an inline hook.

Set OKTA_ISSUER and OKTA_SCOPE in the environment or in .env, then start it with:

    flask --app examples/oauth.py run
"""

import os
import sys
from time import monotonic

import requests
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError
from flask import Flask, request
from joserfc import errors, jwk, jwt

MISSING = "Set OKTA_ISSUER and OKTA_SCOPE in .env, and start this with flask run."
ISSUER = os.environ.get("OKTA_ISSUER") or sys.exit(MISSING)
SCOPE = os.environ.get("OKTA_SCOPE") or sys.exit(MISSING)
# A token without an essential claim is refused.
CLAIMS = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": os.environ.get("OKTA_AUDIENCE") or "api://default"},
    exp={"essential": True},
    leeway=60,
)

app = Flask(__name__)
require_oauth = ResourceProtector()


class OktaTokenValidator(BearerTokenValidator):
    keys = jwk.KeySet([])
    next_fetch = 0.0

    def authenticate_token(self, token_string: str) -> jwt.Claims:
        try:
            token = jwt.decode(token_string, self.find_keys, algorithms=["RS256"])
            CLAIMS.validate(token.claims)
        except (errors.JoseError, TypeError):  # TypeError: the header is not a JSON object
            raise InvalidTokenError from None
        return token.claims

    def validate_token(self, claims: jwt.Claims, scopes: list[str], request: object) -> None:
        # Okta writes the scopes into "scp", as a list.
        if self.scope_insufficient(claims.get("scp"), scopes):
            raise InsufficientScopeError

    def find_keys(self, token: jwk.GuestProtocol) -> jwk.KeySet:
        """The issuer's keys, fetched if the token names one that is not among them."""
        known = token.headers().get("kid") in [key.kid for key in self.keys]
        # Anyone can make up a key ID, so after a successful fetch, wait 10 seconds.
        if not known and monotonic() > self.next_fetch:
            response = requests.get(f"{ISSUER}/v1/keys", timeout=2)
            response.raise_for_status()
            self.keys = jwk.KeySet.import_key_set(response.json())
            self.next_fetch = monotonic() + 10
        return self.keys


require_oauth.register_token_validator(OktaTokenValidator())


@app.before_request
@require_oauth(SCOPE)
def require_token() -> None:
    """The decorators check every request, before Flask checks whether its path exists."""


@app.post("/registrationHookSSR")
def registration_hook() -> dict:
    """Let people sign up only with an address at okta.com."""
    email = request.json["data"]["userProfile"]["email"]
    action = "ALLOW" if email.lower().endswith("@okta.com") else "DENY"
    return {"commands": [{"type": "com.okta.action.update", "value": {"registration": action}}]}
