"""What was made in the local Okta by its management API, and the clients that this gives it."""

import hmac

from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidScopeError
from joserfc.jwk import KeySet

from local_okta.management_collections import (
    SECRET_METHODS,
    Apps,
    HookKeys,
    Hooks,
    Json,
    Rules,
    Unguarded,
    member,
    method_of,
)

PUBLIC_SCOPE = {"consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS", "default": False}


class State:
    """All that there is. `okta` is the LocalOkta, whose own scopes and client are there, too."""

    def __init__(self, okta):
        hook = ("name", "channel.type", "channel.version", "channel.config.uri")
        self.inline_hooks = Hooks("inlineHook", "cal", (*hook, "version"))
        self.event_hooks = Hooks("eventHook", "who", (*hook, "events.type", "events.items"))
        self.hook_keys = HookKeys(self.inline_hooks)
        self.apps = Apps()
        self.scopes = Unguarded("scope", "scp")
        self.policies = Unguarded("policy", "00p")
        self.rules: dict[str, Rules] = {}
        for name in okta.scopes:
            self.scopes.create(PUBLIC_SCOPE | {"name": name})
        for name in ("openid", "profile"):
            self.scopes.create(PUBLIC_SCOPE | {"name": name})["system"] = True

    def rules_of(self, policy: str) -> Rules:
        self.policies.get(policy)
        return self.rules.setdefault(policy, Rules())

    def hooks(self) -> list[dict[str, str]]:
        """The registered hooks, for the page."""
        listed = []
        for hook in (*self.event_hooks.items.values(), *self.inline_hooks.items.values()):
            config = hook["channel"]["config"]
            status = f"{hook['status']} {hook.get('verificationStatus', '')}".strip().lower()
            authentication = config.get("authType", "basic")
            listed.append(
                {
                    "name": hook["name"],
                    "uri": config["uri"],
                    "authentication": authentication,
                    "status": status,
                }
            )
        return listed

    def public_scopes(self) -> list[str]:
        return [
            scope["name"]
            for scope in self.scopes.items.values()
            if scope.get("metadataPublish") == "ALL_CLIENTS" and not scope["system"]
        ]

    def client(self, client_id: str) -> "RegisteredClient | None":
        app = self.apps.items.get(client_id)
        return RegisteredClient(self, app) if app and app["status"] == "ACTIVE" else None


class RegisteredClient(ClientMixin):
    """An app, as the token endpoint sees it."""

    def __init__(self, state: State, app: Json):
        self._state, self._app = state, app
        self.client_id = app["id"]

    @property
    def public_keys(self) -> KeySet:
        return KeySet.import_key_set(self._app["settings"]["oauthClient"]["jwks"])

    def check_client_secret(self, client_secret: str) -> bool:
        return any(
            hmac.compare_digest(each["client_secret"].encode(), client_secret.encode())
            for each in self._state.apps.secrets[self.client_id]
            if each["status"] == "ACTIVE"
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        ours = method_of(self._app)
        return method == ours or (method in SECRET_METHODS and ours in SECRET_METHODS)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._app["settings"]["oauthClient"]["grant_types"]

    def get_allowed_scope(self, scope: str | None) -> str:
        scopes = {each["name"]: each for each in self._state.scopes.items.values()}
        if not scope or not set(scope.split()) <= set(scopes):
            raise InvalidScopeError("One or more scopes are not configured for this server.")
        if any(scopes[name].get("consent") == "REQUIRED" for name in scope.split()):
            raise InvalidScopeError("A scope that needs consent cannot be had without a user.")
        policies = self._state.policies.items.values()
        if not any(self._is_allowed_by(policy, scope) for policy in policies):
            raise AccessDeniedError("Policy evaluation failed for this request.")
        return scope

    def _is_allowed_by(self, policy: Json, scope: str) -> bool:
        clients = member(policy, "conditions.clients.include") or []
        if policy["status"] != "ACTIVE" or not {"ALL_CLIENTS", self.client_id} & {*clients}:
            return False
        for rule in self._state.rules_of(policy["id"]).items.values():
            granted = {*(member(rule, "conditions.scopes.include") or [])}
            grants = member(rule, "conditions.grantTypes.include") or []
            covered = "*" in granted or {*scope.split()} <= granted
            if rule["status"] == "ACTIVE" and "client_credentials" in grants and covered:
                return True
        return False
