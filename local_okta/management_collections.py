"""The collections of Okta's management API, in memory, with the behaviour of real orgs.

Where Okta's description and real orgs differ, this does what real orgs do: answers have no secrets,
`PUT` replaces, an active hook cannot be deleted, lists come back in another order.
"""

import copy
import secrets
import time
from typing import Any

from joserfc.jwk import RSAKey

Json = dict[str, Any]

SECRET_METHODS = ("client_secret_basic", "client_secret_post")
# What a PUT does not change.
KEPT = ("id", "status", "created", "type", "system")


class Refusal(Exception):
    """An error as Okta answers it."""

    def __init__(self, status: int, code: str, summary: str, *causes: str):
        super().__init__(summary)
        self.status, self.code, self.summary, self.causes = status, code, summary, causes


def not_found(path: str, what: str = "path") -> Refusal:
    return Refusal(404, "E0000007", f"Not found: Resource not found: {path} ({what})")


def invalid(what: str, *causes: str) -> Refusal:
    return Refusal(400, "E0000001", f"Api validation failed: {what}", *causes)


class Collection:
    """The objects of one kind, by ID."""

    made_status = 200
    lifecycle_answer = (200, True)  # the status, and whether the object comes with it
    inactive_before_delete = True

    def __init__(self, what: str, id_prefix: str, needed: tuple[str, ...] = ("name",)):
        self.what, self.id_prefix, self.needed = what, id_prefix, needed
        self.items: dict[str, Json] = {}

    def get(self, item_id: str) -> Json:
        if item_id not in self.items:
            raise not_found(item_id, self.what)
        return self.items[item_id]

    def create(self, body: Json) -> Json:
        self.check(body)
        item = copy.deepcopy(body) | {"id": f"{self.id_prefix}{secrets.token_hex(8)}0"}
        item |= {"status": "ACTIVE", "created": now(), "lastUpdated": now()}
        self.items[item["id"]] = item
        return item

    def replace(self, item_id: str, body: Json) -> Json:
        old = self.get(item_id)
        self.check(body, item_id)
        self.items[item_id] = copy.deepcopy(body) | pick(old, *KEPT) | {"lastUpdated": now()}
        return self.items[item_id]

    def delete(self, item_id: str) -> None:
        if self.get(item_id)["status"] == "ACTIVE" and self.inactive_before_delete:
            raise Refusal(403, "E0000006", f"An active {self.what} cannot be deleted.")
        del self.items[item_id]

    def check(self, body: Json, item_id: str | None = None) -> None:
        for path in self.needed:
            if member(body, path) in (None, "", []):
                raise invalid(self.what, f"{path}: The field cannot be left blank")
        for other in self.items.values():
            if other["id"] != item_id and other.get("name") == body.get("name"):
                raise invalid("name", "name: An object with this field already exists")

    def shown(self, item: Json, *, written: bool = False) -> Json:
        """As an answer has it. Some things are only in the answer to a POST or PUT: `written`."""
        return in_another_order(item)


class Unguarded(Collection):
    """Scopes, policies and rules: 201 when made, and deleted whether active or not."""

    made_status = 201
    lifecycle_answer = (204, False)
    inactive_before_delete = False

    def create(self, body: Json) -> Json:
        return super().create(body | {"system": False})

    def delete(self, item_id: str) -> None:
        if self.get(item_id).get("system"):
            raise Refusal(403, "E0000006", "A system scope cannot be deleted.")
        super().delete(item_id)


class Rules(Unguarded):
    def __init__(self) -> None:
        super().__init__("rule", "0pr", ("name", "type", "conditions.grantTypes.include"))

    def shown(self, item: Json, *, written: bool = False) -> Json:
        item = super().shown(item)
        item["conditions"].setdefault("people", {}).setdefault("users", {"exclude": []})
        return item


class Hooks(Collection):
    """Inline hooks and event hooks. How they authenticate is not checked, as in Okta."""

    def __init__(self, what: str, id_prefix: str, needed: tuple[str, ...]):
        super().__init__(what, id_prefix, needed)
        self.is_event = what == "eventHook"
        self.unverified = {"verificationStatus": "UNVERIFIED"} if self.is_event else {}

    def check(self, body: Json, item_id: str | None = None) -> None:
        super().check(body, item_id)
        uri = str(member(body, "channel.config.uri"))
        if not uri.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise invalid("channel.config.uri", "channel.config.uri: must begin with https://")

    def create(self, body: Json) -> Json:
        return super().create(body | self.unverified)

    def replace(self, item_id: str, body: Json) -> Json:
        item = super().replace(item_id, body | self.unverified)
        if self.is_event:
            # Here, and only here, the status of a PUT counts.
            item |= pick(body, "status")
        return item

    def shown(self, item: Json, *, written: bool = False) -> Json:
        item = super().shown(item)
        config = item["channel"]["config"]
        config.pop("clientSecret", None)
        if config.setdefault("authScheme", None):
            del config["authScheme"]["value"]
        if self.is_event:
            item["events"].setdefault("filter", None)
            item.setdefault("description", None)
        return item


class HookKeys(Collection):
    def __init__(self, inline_hooks: Hooks):
        super().__init__("hookKey", "HKY")
        self._inline_hooks = inline_hooks
        self.private: dict[str, RSAKey] = {}

    def create(self, body: Json) -> Json:
        item = super().create(body)
        key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(16)})
        self.private[item["id"]], item["keyId"] = key, key.kid
        return item

    def delete(self, item_id: str) -> None:
        if self.shown(self.get(item_id))["isUsed"]:
            raise invalid("hookKey", "The key is used by an inline hook")
        del self.items[item_id]

    def shown(self, item: Json, *, written: bool = False) -> Json:
        hooks = self._inline_hooks.items.values()
        used = any(member(hook, "channel.config.hookKeyId") == item["id"] for hook in hooks)
        shown = pick(item, "id", "name", "created", "lastUpdated", "keyId") | {"isUsed": used}
        return shown | ({"_embedded": self.public(item)} if written else {})

    def public(self, item: Json) -> Json:
        public = pick(self.private[item["id"]].as_dict(private=False), "kty", "kid", "e", "n")
        return public | {"alg": "RSA", "use": None}


class Apps(Collection):
    lifecycle_answer = (200, False)

    def __init__(self) -> None:
        needed = ("label", "signOnMode", "settings.oauthClient.grant_types")
        super().__init__("app", "0oa", needed)
        self.secrets: dict[str, list[Json]] = {}

    def check(self, body: Json, item_id: str | None = None) -> None:
        # Labels need not be unique, and the names of all OpenID Connect apps are the same.
        super().check(body | {"name": secrets.token_hex(4)}, item_id)
        keys = member(body, "settings.oauthClient.jwks.keys")
        if method_of(body) == "private_key_jwt" and not keys:
            raise invalid("jwks", "jwks: a client with private_key_jwt needs a key")

    def create(self, body: Json) -> Json:
        item = super().create(body)
        item["credentials"]["oauthClient"].setdefault("client_id", item["id"])
        self._renew_secrets(item)
        return item

    def replace(self, item_id: str, body: Json) -> Json:
        before = method_of(self.get(item_id))
        keeps_secret = member(body, "credentials.oauthClient.client_secret") == ""
        item = super().replace(item_id, body)
        item["credentials"]["oauthClient"]["client_id"] = item_id
        if method_of(item) != before or not keeps_secret:
            self._renew_secrets(item)
        return item

    def _renew_secrets(self, item: Json) -> None:
        self.secrets[item["id"]] = []
        if method_of(item) in SECRET_METHODS:
            self.add_secret(item["id"])

    def shown(self, item: Json, *, written: bool = False) -> Json:
        item = super().shown(item)
        client = member(item, "credentials.oauthClient") or {}
        client.pop("client_secret", None)
        if written and self.secrets[item["id"]]:
            client["client_secret"] = self.secrets[item["id"]][-1]["client_secret"]
        return item

    def add_secret(self, item_id: str) -> Json:
        self.get(item_id)
        if len(self.secrets[item_id]) == 2:
            raise invalid("client_secret", "There can be two secrets at most")
        made = {"id": f"ocs{secrets.token_hex(8)}0", "status": "ACTIVE", "created": now()}
        self.secrets[item_id].append(made | {"client_secret": secrets.token_hex(32)})
        return self.secrets[item_id][-1]


def method_of(app: Json) -> Any:
    return member(app, "credentials.oauthClient.token_endpoint_auth_method")


def member(item: Any, path: str) -> Any:
    """What is at a dotted path, or None."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def pick(item: Json, *names: str) -> Json:
    return {name: item[name] for name in names if name in item}


def in_another_order(item: Any) -> Any:
    """A copy whose lists are turned round: Okta promises no order of them."""
    if isinstance(item, dict):
        return {name: in_another_order(value) for name, value in item.items()}
    return [in_another_order(each) for each in reversed(item)] if isinstance(item, list) else item


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
