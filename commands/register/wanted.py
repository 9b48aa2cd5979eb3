"""What should be in the org: key, app, scope, policy and rule for the tokens, and the hooks."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

from .client import API, Json, Okta, OktaError
from .inputs import Choices, Hook
from .plan import InTheWay, Resource, member

HOOK_KEYS = f"{API}/hook-keys"
INLINE_HOOKS = f"{API}/inlineHooks"
EVENT_HOOKS = f"{API}/eventHooks"
METHOD = "credentials.oauthClient.token_endpoint_auth_method"
SECRET_METHODS = ("client_secret_post", "client_secret_basic")
# Whatever has another description is not removed.
SCOPE_DESCRIPTION = "Lets Okta call the hooks."
POLICY_DESCRIPTION = "Lets Okta get the token that opens the hooks."
OTHER_NAME, LEFT = "other name", "left"
VERIFIED_EARLIER = "verified earlier"
VERSION = "1.0.0"
# For a new policy and its rule: Okta uses the first policy that fits.
FIRST = {"priority": 1, "status": "ACTIVE"}


def wanted(okta: Okta, choices: Choices) -> "tuple[App | None, list[Resource]]":
    """The app, and everything that must exist, in the order of creation."""
    app: App | None = None
    resources: list[Resource] = []
    if choices.auth != "basic":
        key = Key(okta, choices) if choices.auth == "private-key" else None
        app = App(okta, choices, key)
        policy = Policy(okta, choices, app)
        scope, rule = Scope(okta, choices), Rule(okta, choices, policy)
        resources = [*([key] if key else []), app, scope, policy, rule]
    for hook in choices.hooks:
        resources.append(HookInOkta(okta, choices, hook, None if hook.is_event else app))
    return app, resources


def with_authentication_of_app(okta: Okta, choices: Choices) -> Choices:
    """An app that has a client secret keeps it. A new one gets a private key."""
    app = App(okta, choices, None)
    with suppress(InTheWay):
        app.find()
    has_secret = member(app.item, METHOD) in SECRET_METHODS
    return replace(choices, auth="client-secret" if has_secret else "private-key")


class Key(Resource):
    """A key pair whose private half Okta keeps."""

    what = "hook key"
    collection = HOOK_KEYS

    def public_half(self) -> Json:
        """As an app takes it. The `alg` and `use` of Okta's answer are not what it takes."""
        kid, answer = self.must_have("keyId"), self.item or {}
        if "_embedded" not in answer:
            answer = self.okta.call("GET", f"{HOOK_KEYS}/public/{kid}")
        public = answer.get("_embedded", answer)
        jwk = {"kty": "RSA", "kid": kid, "e": public.get("e"), "n": public.get("n")}
        return jwk | {"alg": "RS256", "use": "sig", "status": "ACTIVE"}


class App(Resource):
    """The client that Okta uses to get its tokens. With a client secret, `key` is None."""

    what = "app"
    collection = f"{API}/apps"
    how_to_choose = ", of which OKTA_CLIENT_ID can name one"
    inactive_before_delete = True

    def __init__(self, okta: Okta, choices: Choices, key: Key | None):
        super().__init__(okta, choices)
        self.detail += ", private key kept by Okta" if key else ", client secret"
        self.query = f"?q={quote(self.name)}&limit=200"
        self.key, self._secret = key, ""
        self.fixed = {"settings.oauthClient.application_type": "service"}
        self.new = {
            "name": "oidc_client",
            "label": self.name,
            "signOnMode": "OPENID_CONNECT",
            "settings": {
                "oauthClient": {"application_type": "service", "response_types": ["token"]},
                "notes": {"admin": "Created by flask okta register."},
            },
        }

    @property
    def client_id(self) -> str:
        return str(member(self.item, "credentials.oauthClient.client_id") or self.id)

    def fields(self) -> Json:
        client: Json = {"grant_types": ["client_credentials"], "dpop_bound_access_tokens": False}
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

    def secrets(self) -> Json:
        # An empty secret keeps the one that exists.
        secret = "" if self.item and not self.key else None
        jwks = {"keys": [self.key.public_half()]} if self.key else None
        return {
            "credentials": {"oauthClient": {"client_secret": secret}},
            "settings": {"oauthClient": {"jwks": jwks}},
        }

    def client_secret(self) -> str:
        """The secret from the answer that created it, or the newest active one, or a new one."""
        secret = self._secret or member(self.item, "credentials.oauthClient.client_secret")
        if not secret:
            path = f"{self.path}/credentials/secrets"
            active = [each for each in self.okta.objects(path) if each.get("status") == "ACTIVE"]
            active.sort(key=lambda each: str(each.get("created")))
            newest = active[-1] if active else self.okta.call("POST", path, {})
            secret = newest.get("client_secret")
        if not secret:
            raise OktaError(f"Okta's answer about the secret of the app {self.name} has none")
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
        ours = [self.choices.name_of(hook.path) for hook in self.choices.hooks]
        for hook in self.okta.objects(INLINE_HOOKS):
            name, client_id = hook.get("name"), member(hook, "channel.config.clientId")
            if client_id == self.client_id and name not in ours:
                raise InTheWay(
                    f"the hook “{name}” gets its tokens as this app: change or remove it first"
                )


class Scope(Resource):
    """The scope of the hooks. Only `system` tells Okta's own scopes from others."""

    what = "scope"

    def __init__(self, okta: Okta, choices: Choices):
        super().__init__(okta, choices, choices.scope)
        self.collection = f"{choices.server}/scopes"
        self.fixed = {"system": False}
        self.new = {"description": SCOPE_DESCRIPTION, "displayName": self.name}

    def fields(self) -> Json:
        published = {"consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS", "default": False}
        return {"name": self.name} | published

    def check_removal(self) -> None:
        if member(self.item, "description") != SCOPE_DESCRIPTION:
            raise InTheWay(f"{self.name} was not created by this command", LEFT)
        ours = self.choices.prefix
        for policy, rule in rules(self.okta, self.choices):
            scopes = member(rule, "conditions.scopes.include") or []
            if self.name in scopes and not policy.get("name") == rule.get("name") == ours:
                raise InTheWay(f"{self.name} is named by the rule “{rule.get('name')}”", LEFT)


class Policy(Resource):
    """Applies to one client, and affects no other."""

    what = "policy"

    def __init__(self, okta: Okta, choices: Choices, app: App):
        super().__init__(okta, choices)
        self.collection = f"{choices.server}/policies"
        self.app, self.new = app, FIRST

    def fields(self) -> Json:
        return {
            "type": "OAUTH_AUTHORIZATION_POLICY",
            "name": self.name,
            "description": POLICY_DESCRIPTION,
            "conditions": {"clients": {"include": [self.app.client_id]}},
        }

    def check(self) -> None:
        if self.item and self.item.get("description") != POLICY_DESCRIPTION:
            raise InTheWay(f"{self.name} was not created by this command: choose another --name")

    def check_removal(self) -> None:
        if member(self.item, "description") != POLICY_DESCRIPTION:
            raise InTheWay(f"{self.name} was not created by this command", LEFT)
        for rule in self.okta.objects(f"{self.path}/rules"):
            if rule.get("name") != self.name:
                raise InTheWay(f"{self.name} has another rule, “{rule.get('name')}”", LEFT)


class Rule(Resource):
    """Lets the app get a token with the scope."""

    what = "rule"
    collection = "rules"

    def __init__(self, okta: Okta, choices: Choices, policy: Policy):
        super().__init__(okta, choices)
        self.parent, self.new = policy, FIRST

    def fields(self) -> Json:
        return {
            "type": "RESOURCE_ACCESS",
            "name": self.name,
            "conditions": {
                "people": {"groups": {"include": ["EVERYONE"]}},
                "grantTypes": {"include": ["client_credentials"]},
                "scopes": {"include": [self.choices.scope]},
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

    def check_removal(self) -> None:
        if member(self.parent and self.parent.item, "description") != POLICY_DESCRIPTION:
            raise InTheWay("its policy was not created by this command", LEFT)


def rules(okta: Okta, choices: Choices) -> Iterator[tuple[Json, Json]]:
    """Each rule of the authorization server with its policy."""
    if choices.server:
        policies = f"{choices.server}/policies"
        for policy in okta.objects(policies):
            for rule in okta.objects(f"{policies}/{policy.get('id')}/rules"):
                yield policy, rule


class HookInOkta(Resource):
    """A hook of this service. Okta sends HTTP Basic, or a token that it gets as `app`."""

    inactive_before_delete = True

    def __init__(self, okta: Okta, choices: Choices, hook: Hook, app: App | None):
        super().__init__(okta, choices, choices.name_of(hook.path))
        what = "event" if hook.is_event else hook.name.replace("-", " ").replace("saml", "SAML")
        self.what = f"{what} hook"
        self.collection = EVENT_HOOKS if hook.is_event else INLINE_HOOKS
        self.hook, self.app = hook, app
        self.detail = self.uri = f"{choices.url}{hook.path}"
        if not hook.is_event:
            self.fixed, self.new = {"type": hook.type}, {"type": hook.type, "version": VERSION}
        self.holds_secret = app is None or app.key is None

    def fields(self) -> Json:
        config: Json = {"uri": self.uri}
        channel: Json = {"type": "HTTP", "config": config}
        if self.app is None:
            config["authScheme"] = {"type": "HEADER", "key": "Authorization"}
        else:
            channel["type"] = "OAUTH"
            config |= {
                "authType": "private_key_jwt" if self.app.key else "client_secret_post",
                "clientId": self.app.client_id,
                "hookKeyId": self.app.key.id if self.app.key else None,
                "tokenUrl": f"{self.choices.settings.okta_issuer}/v1/token",
                "scope": self.choices.scope,
            }
        if self.hook.is_event:
            events = {"type": "EVENT_TYPE", "items": list(self.hook.event_types)}
            return {"name": self.name, "events": events, "channel": channel}
        config["method"] = "POST"
        return {"name": self.name, "channel": channel}

    def rest(self) -> Json:
        # The rest of the channel belongs to the authentication, which may be another one now.
        config = {"headers": member(self.item, "channel.config.headers") or []}
        return super().rest() | {"channel": {"version": VERSION, "config": config}}

    def secrets(self) -> Json:
        if self.app is None:
            if not self.choices.header:
                raise OktaError(f"{self.name} would have no authentication, so it is not sent")
            return {"channel": {"config": {"authScheme": {"value": self.choices.header}}}}
        if self.app.key:
            return {}
        return {"channel": {"config": {"clientSecret": self.app.client_secret()}}}

    def check(self) -> None:
        is_active = member(self.item, "status") == "ACTIVE"
        for other in self.okta.objects(self.collection):
            name = other.get("name")
            if name == self.name or self.hook.type not in (None, other.get("type")):
                continue
            if self.hook.is_telephony and not is_active and other.get("status") == "ACTIVE":
                raise InTheWay(f"“{name}” is already active, and an org can have only one")
            if self.item is None and member(other, "channel.config.uri") == self.uri:
                raise InTheWay(f"“{name}” has the same URL, so no other is created", OTHER_NAME)

    def change(self) -> None:
        super().change()
        # Whatever the answer says, the address may be another one now.
        if self.item and self.hook.is_event:
            self.item["verificationStatus"] = "UNVERIFIED"

    def check_removal(self) -> None:
        for _, rule in rules(self.okta, self.choices):
            if member(rule, "actions.token.inlineHook.id") == self.id:
                raise InTheWay(f"the rule “{rule.get('name')}” uses it: remove it there first")

    def try_out(self, payloads: dict[str, Json]) -> str:
        """The result of Okta's own test, empty if there is none. Raises OktaError."""
        if self.item is None or self.hook.is_telephony:
            # Telephony would send a real message.
            return ""
        if self.hook.is_event:
            if self.item.get("verificationStatus") == "VERIFIED":
                return VERIFIED_EARLIER
            self.item = self.okta.call("POST", f"{self.path}/lifecycle/verify")
            return "verified"
        if self.hook.path not in payloads:
            return ""
        answer = self.okta.call("POST", f"{self.path}/execute", payloads[self.hook.path])
        if refusal := member(answer, "error.errorSummary"):
            return f"error: {refusal}"
        commands = [str(member(each, "type")) for each in answer.get("commands") or []]
        return ", ".join(commands) or "no change"
