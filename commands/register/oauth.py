"""What Okta needs to get a token for the inline hooks: key, app, scope, policy and rule."""

from collections.abc import Iterator
from urllib.parse import quote

from .client import API, Json, Okta
from .inputs import Choices
from .resources import InTheWay, Resource, member, merged

HOOK_KEYS = f"{API}/hook-keys"
INLINE_HOOKS = f"{API}/inlineHooks"
METHOD = "credentials.oauthClient.token_endpoint_auth_method"
SECRET_METHODS = ("client_secret_post", "client_secret_basic")
SCOPE_DESCRIPTION = "Lets Okta call the hooks."
# Okta uses the first policy that fits.
FIRST = {"priority": 1, "status": "ACTIVE"}


def oauth_resources(okta: Okta, choices: Choices) -> "tuple[App, list[Resource]]":
    """The app, and all of these in the order of creation."""
    name, server = choices.prefix, choices.server
    key = Resource(okta, "hook key", name, HOOK_KEYS, lambda: {"name": name})
    app = App(okta, choices, key if choices.auth == "private-key" else None)
    scope = Scope(okta, choices)

    def policy_fields() -> Json:
        # It applies to one client, and affects no other.
        return {
            "type": "OAUTH_AUTHORIZATION_POLICY",
            "name": name,
            "description": "Lets Okta get the token that opens the hooks.",
            "conditions": {"clients": {"include": [app.client_id]}},
        }

    rule_fields = {
        "type": "RESOURCE_ACCESS",
        "name": name,
        "conditions": {
            "people": {"groups": {"include": ["EVERYONE"]}},
            "grantTypes": {"include": ["client_credentials"]},
            "scopes": {"include": [scope.name]},
        },
        "actions": {
            "token": {
                "accessTokenLifetimeMinutes": 60,
                "refreshTokenLifetimeMinutes": 0,
                "refreshTokenWindowMinutes": 10080,
                # A hook would need a token to issue its own token.
                "inlineHook": None,
            }
        },
    }
    policy = Resource(okta, "policy", name, f"{server}/policies", policy_fields, defaults=FIRST)
    rule = Resource(okta, "rule", name, "rules", lambda: rule_fields, defaults=FIRST, parent=policy)
    return app, [*([key] if app.key else []), app, scope, policy, rule]


class App(Resource):
    """The client as which Okta gets its tokens. With a client secret, `key` is None."""

    inactive_before_delete = True

    def __init__(self, okta: Okta, choices: Choices, key: Resource | None):
        defaults = {
            "name": "oidc_client",
            "label": choices.prefix,
            "signOnMode": "OPENID_CONNECT",
            "settings": {
                "oauthClient": {"response_types": ["token"]},
                "notes": {"admin": "Created by flask okta register."},
            },
        }
        fixed = {"settings.oauthClient.application_type": "service"}
        super().__init__(okta, "app", choices.prefix, f"{API}/apps", self._fields, fixed, defaults)
        self.list_query = f"?q={quote(self.name)}&limit=200"
        self.detail += ", private key kept by Okta" if key else ", client secret"
        self.choices, self.key, self._secret = choices, key, ""

    @property
    def client_id(self) -> str:
        return str(member(self.item, "credentials.oauthClient.client_id") or self.id)

    def _fields(self) -> Json:
        client: Json = {
            "application_type": "service",
            "grant_types": ["client_credentials"],
            "dpop_bound_access_tokens": False,
        }
        if self.key:
            client["jwks"] = {"keys": [{"kid": self.key.must_have("keyId")}]}
        return {
            "credentials": {"oauthClient": {"token_endpoint_auth_method": self._method()}},
            "settings": {"oauthClient": client},
        }

    def _method(self) -> str:
        if self.key:
            return "private_key_jwt"
        # With the other method, Okta would create a new secret.
        has = member(self.item, METHOD)
        return has if has in SECRET_METHODS else SECRET_METHODS[0]

    def kept(self) -> Json:
        kept = merged(self.item or {})
        kept["settings"]["oauthClient"].pop("jwks", None)
        return kept

    def extra(self) -> Json:
        if self.key:
            return {"settings": {"oauthClient": {"jwks": {"keys": [public_key(self.key)]}}}}
        # An empty one keeps the secret that exists.
        return {"credentials": {"oauthClient": {"client_secret": ""}}} if self.item else {}

    def client_secret(self) -> str:
        """The secret from the answer that created it, or the newest active one, or a new one."""
        secret = self._secret or member(self.item, "credentials.oauthClient.client_secret")
        if not secret:
            path = f"{self.path}/credentials/secrets"
            active = [each for each in self.okta.objects(path) if each.get("status") == "ACTIVE"]
            active.sort(key=lambda each: str(each.get("created")))
            secret = (active[-1] if active else self.okta.call("POST", path, {}))["client_secret"]
        self.okta.conceal(secret)
        self._secret = secret
        return secret

    def matching(self, listed: list[Json]) -> list[Json]:
        ours = {"label": self.name, "name": "oidc_client"}
        found = [each for each in listed if each | ours == each]
        client_ids = self.choices.settings.okta_client_id
        return [each for each in found if each.get("id") in client_ids] or found

    def check(self) -> None:
        if self.item and member(self.item, METHOD) != self._method():
            self.check_removal()

    def check_removal(self) -> None:
        ours = [self.choices.name_of(hook) for hook in self.choices.hooks]
        for hook in self.okta.objects(INLINE_HOOKS):
            name, client_id = hook.get("name"), member(hook, "channel.config.clientId")
            if client_id == self.client_id and name not in ours:
                raise InTheWay(f"“{name}” could no longer get a token with it: change it first")


def public_key(key: Resource) -> Json:
    """A hook key as an app takes it. Okta's own `alg` and `use` are not what it takes."""
    kid, answer = key.must_have("keyId"), key.item or {}
    if "_embedded" not in answer:
        answer = key.okta.call("GET", f"{HOOK_KEYS}/public/{kid}")
    public = answer.get("_embedded", answer)
    jwk = {"kty": "RSA", "kid": kid, "e": public.get("e"), "n": public.get("n")}
    return jwk | {"alg": "RS256", "use": "sig", "status": "ACTIVE"}


class Scope(Resource):
    """The scope of the hooks. Only `system` tells Okta's own scopes from others."""

    def __init__(self, okta: Okta, choices: Choices):
        name, scopes = choices.scope, f"{choices.server}/scopes"
        published = {"consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS", "default": False}
        fields = {"name": name} | published
        kept = {"description": None, "displayName": None}
        super().__init__(okta, "scope", name, scopes, lambda: fields, {"system": False}, kept)
        self.choices = choices

    def extra(self) -> Json:
        # The description says that it can be removed, so a scope that was there does not get it.
        made = {"description": SCOPE_DESCRIPTION, "displayName": self.name}
        return {} if self.item else made

    def check_removal(self) -> None:
        if member(self.item, "description") != SCOPE_DESCRIPTION:
            raise InTheWay(f"{self.name} was not created by this command", "left")
        ours = self.choices.prefix
        for policy, rule in rules(self.okta, self.choices):
            scopes = member(rule, "conditions.scopes.include") or []
            if self.name in scopes and not policy.get("name") == rule.get("name") == ours:
                raise InTheWay(f"{self.name} is named by the rule “{rule.get('name')}”", "left")


def rules(okta: Okta, choices: Choices) -> Iterator[tuple[Json, Json]]:
    """Each rule of the authorization server with its policy."""
    if choices.server:
        policies = f"{choices.server}/policies"
        for policy in okta.objects(policies):
            for rule in okta.objects(f"{policies}/{policy.get('id')}/rules"):
                yield policy, rule
