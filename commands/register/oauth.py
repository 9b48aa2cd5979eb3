"""What Okta needs to get a token for the inline hooks: key, app, scope, policy and rule."""

import copy

from .client import Json, OktaError, path_of, quoted
from .resources import InTheWay, Org, Resource, member, merged, picked

SECRET_METHODS = ("client_secret_post", "client_secret_basic")
METHOD = "credentials.oauthClient.token_endpoint_auth_method"
SCOPE_DESCRIPTION = "Lets Okta call the hooks."
NOTE = "Made by flask okta register."


class HookKey(Resource):
    """The key pair with which Okta asks for a token. Its private half stays in Okta."""

    collection = path_of("hook-keys")

    def fields(self) -> Json:
        return {"name": self.name}

    @property
    def kid(self) -> str:
        return self.must_have("keyId")

    def jwk(self) -> Json:
        """The public half, as an app takes it. Okta's own `alg` and `use` are not what it takes."""
        answer = self.item or {}
        if "_embedded" not in answer:
            answer = self.org.okta.get(path_of("hook-keys", "public", self.kid))
        key = answer.get("_embedded", answer)
        if not isinstance(key, dict) or not {"e", "n"} <= key.keys():
            raise OktaError(f"Okta's answer about the hook key {self.name} has no public key")
        public = {"kty": "RSA", "kid": self.kid, "e": key["e"], "n": key["n"]}
        return public | {"alg": "RS256", "use": "sig", "status": "ACTIVE"}


class App(Resource):
    """The client that Okta gets its token as. `key` is its key; None stands for a client secret."""

    name_field = "label"
    collection = path_of("apps")
    create_query = "?activate=true"
    inactive_before_delete = True

    def __init__(self, org: Org, name: str, client_ids: frozenset[str], key: HookKey | None):
        where = ", private key kept by Okta" if key else ", client secret"
        super().__init__(org, "app", name, f"{name}{where}")
        self.key = key
        self._client_ids = client_ids
        self._secret: str | None = None

    def find(self, *, fresh: bool = False) -> None:
        query = quoted(self.name)
        listed = self.org.list(f"{self.collection}?q={query}&limit=200", fresh=fresh)
        found = [each for each in listed if self.is_ours(each)]
        if len(found) > 1:
            found = [each for each in found if each.get("id") in self._client_ids] or found
        if len(found) > 1:
            ids = ", ".join(str(each.get("id")) for each in found)
            raise InTheWay(
                f"{len(found)} apps have the label {self.name}: {ids}. Let OKTA_CLIENT_ID name the "
                "one that is meant, or choose another --name"
            )
        self.item = found[0] if found else None
        kind = member(self.item, "settings.oauthClient.application_type")
        if self.item and kind != "service":
            raise InTheWay(f"the app {self.id} is no API Services app: choose another --name")

    def is_ours(self, item: Json) -> bool:
        return super().is_ours(item) and item.get("name") == "oidc_client"

    @property
    def client_id(self) -> str:
        return str(member(self.item, "credentials.oauthClient.client_id") or self.id)

    @property
    def method(self) -> str:
        """How the client authenticates; of the methods with a secret, the one that it has."""
        has = member(self.item, METHOD)
        if self.key:
            return "private_key_jwt"
        return has if has in SECRET_METHODS else SECRET_METHODS[0]

    def fields(self) -> Json:
        return {
            "credentials": {"oauthClient": {"token_endpoint_auth_method": self.method}},
            "settings": {
                "oauthClient": {
                    "application_type": "service",
                    "grant_types": ["client_credentials"],
                    "dpop_bound_access_tokens": False,
                }
            },
        }

    def for_create(self) -> Json:
        client: Json = {"response_types": ["token"]}
        if self.key:
            client["jwks"] = {"keys": [self.key.jwk()]}
        return {
            "name": "oidc_client",
            "label": self.name,
            "signOnMode": "OPENID_CONNECT",
            "settings": {"oauthClient": client, "notes": {"admin": NOTE}},
        }

    def differences(self) -> list[tuple[str, object, object]]:
        found = super().differences()
        if self.key and self.key_ids() != [self.key.kid]:
            found.append(("jwks", self.key_ids(), [self.key.kid]))
        return found

    def key_ids(self) -> list[str]:
        keys = member(self.item, "settings.oauthClient.jwks.keys") or []
        return [str(key.get("kid")) for key in keys if isinstance(key, dict)]

    def create(self) -> None:
        super().create()
        self._take_secret()

    def replace(self) -> None:
        # Other fields than these are somebody's own.
        body = merged(copy.deepcopy(self.item or {}), self.fields())
        body["settings"]["oauthClient"].pop("jwks", None)
        body["credentials"]["oauthClient"].pop("client_secret", None)
        if self.key:
            body["settings"]["oauthClient"]["jwks"] = {"keys": [self.key.jwk()]}
        else:
            # Empty, it keeps the secret.
            body["credentials"]["oauthClient"]["client_secret"] = ""
        self.item = self.org.okta.put(self.path, body) | {"id": self.id}
        self._take_secret()

    def client_secret(self) -> str:
        """From the answer that made it, else the newest active one; made if there is none."""
        if not self._secret:
            path = f"{self.path}/credentials/secrets"
            active = [each for each in self.org.okta.list(path) if each.get("status") == "ACTIVE"]
            active.sort(key=lambda each: str(each.get("created")))
            newest = active[-1] if active else self.org.okta.post(path, {})
            self._conceal(newest.get("client_secret"))
        if not self._secret:
            raise OktaError(f"Okta's answer about the app {self.name} has no client secret")
        return self._secret

    def _take_secret(self) -> None:
        self._conceal(member(self.item, "credentials.oauthClient.client_secret"))

    def _conceal(self, secret: object) -> None:
        if secret and isinstance(secret, str):
            self.org.okta.conceal(secret)
            self._secret = secret


class OfServer(Resource):
    """Something of the authorization server. `server` is its ID, the last part of its issuer."""

    part = ""

    def __init__(self, org: Org, what: str, name: str, server: str):
        super().__init__(org, what, name)
        self.server = server
        self.collection = path_of("authorizationServers", server, self.part)


class Scope(OfServer):
    part = "scopes"

    def fields(self) -> Json:
        published = {"consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS", "default": False}
        return {"name": self.name} | published

    def for_create(self) -> Json:
        return {"description": SCOPE_DESCRIPTION, "displayName": self.name}

    def kept(self, item: Json) -> Json:
        return picked(item, "description", "displayName")

    def find(self, *, fresh: bool = False) -> None:
        super().find(fresh=fresh)
        if self.item and self.item.get("system"):
            raise InTheWay("is one of Okta's own scopes: let OKTA_SCOPE name another")


class Policy(OfServer):
    part = "policies"

    def __init__(self, org: Org, name: str, server: str, app: App):
        super().__init__(org, "policy", name, server)
        self.app = app

    def fields(self) -> Json:
        return {
            "type": "OAUTH_AUTHORIZATION_POLICY",
            "name": self.name,
            "description": "Lets Okta get the token that opens the hooks.",
            "conditions": {"clients": {"include": [self.app.client_id]}},
        }

    def for_create(self) -> Json:
        # The first policy that fits is used. This one fits one client, and affects no other.
        return {"priority": 1, "status": "ACTIVE"}

    def kept(self, item: Json) -> Json:
        return picked(item, "priority", "status")


class Rule(Resource):
    """The rule of the policy. It has no inline hook, which would need a token for its own token."""

    def __init__(self, org: Org, name: str, policy: Policy, scope: Scope):
        super().__init__(org, "rule", name)
        self.policy, self.scope = policy, scope

    def find(self, *, fresh: bool = False) -> None:
        # Without the policy there is no rule.
        if self.policy.item:
            self.collection = f"{self.policy.path}/rules"
            super().find(fresh=fresh)

    def create(self) -> None:
        self.collection = f"{self.policy.path}/rules"
        super().create()

    def fields(self) -> Json:
        return {
            "type": "RESOURCE_ACCESS",
            "name": self.name,
            "conditions": {
                "people": {"groups": {"include": ["EVERYONE"]}},
                "grantTypes": {"include": ["client_credentials"]},
                "scopes": {"include": [self.scope.name]},
            },
            "actions": {
                "token": {
                    "accessTokenLifetimeMinutes": 60,
                    "refreshTokenLifetimeMinutes": 0,
                    "refreshTokenWindowMinutes": 10080,
                    "inlineHook": None,
                }
            },
        }

    def for_create(self) -> Json:
        return {"priority": 1, "status": "ACTIVE"}

    def kept(self, item: Json) -> Json:
        return picked(item, "priority", "status")
