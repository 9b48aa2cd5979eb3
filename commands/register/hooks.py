"""The hooks of this service, and how each is registered in Okta."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

from flask import Flask

from .client import Json, OktaError, path_of
from .oauth import App
from .resources import InTheWay, Org, Resource, member, merged, picked

TELEPHONY = "com.okta.telephony.provider"
VERSION = "1.0.0"


@dataclass(frozen=True)
class Hook:
    """A hook of the service."""

    name: str
    """Its blueprint's, as in `--hooks`."""
    path: str
    type: str | None
    """Okta's type of an inline hook; None for an event hook."""
    event_types: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        if self.type is None:
            return "event hook"
        return f"{self.name.replace('-', ' ').replace('saml', 'SAML')} hook"

    @property
    def is_telephony(self) -> bool:
        return self.type == TELEPHONY


def hooks_of(app: Flask) -> list[Hook]:
    """From the app's routes and blueprints.

    Each inline hook has an address. An event hook takes all types of events at each address, so
    one address is enough for it, and no event is delivered twice.
    """
    hooks: dict[str, Hook] = {}
    for rule in app.url_map.iter_rules():
        blueprint = app.blueprints.get(rule.endpoint.rpartition(".")[0])
        kind = getattr(blueprint, "kind", None)
        if blueprint is None or "POST" not in (rule.methods or ()) or rule.arguments:
            continue
        name = blueprint.name.replace("_", "-")
        if kind == "inline" and (event_type := getattr(blueprint, "event_type", None)):
            hooks[rule.rule] = Hook(name, rule.rule, event_type)
        elif kind == "event":
            types = getattr(import_module(blueprint.import_name), "HANDLERS", {})
            if types:
                hooks.setdefault(name, Hook(name, rule.rule, None, tuple(sorted(types))))
    return list(hooks.values())


def chosen(hooks: list[Hook], names: Iterable[str]) -> list[Hook]:
    """The hooks with these names. Raises KeyError with the first name that no hook has."""
    by_name: dict[str, list[Hook]] = {}
    for hook in hooks:
        for name in {hook.name, hook.path.strip("/")}:
            by_name.setdefault(name, []).append(hook)
    wanted = [hook for name in names for hook in by_name[name.replace("_", "-")]]
    return [hook for hook in hooks if hook in wanted]


class HookResource(Resource):
    """A hook as it is registered. `header` is the Basic header that Okta sends, if it sends one."""

    inactive_before_delete = True

    def __init__(self, org: Org, hook: Hook, prefix: str, url: str, header: str | None):
        name = f"{prefix}: {hook.path.strip('/')}"
        super().__init__(org, hook.what, name, f"{url}{hook.path}")
        self.hook, self.uri = hook, f"{url}{hook.path}"
        self._header = header

    @property
    def holds_secret(self) -> bool:
        return self._header is not None

    def by_hand(self) -> str | None:
        for other in self.org.list(self.collection):
            same_type = self.hook.type in (None, other.get("type"))
            if same_type and member(other, "channel.config.uri") == self.uri:
                return str(other.get("name"))
        return None

    def channel(self) -> Json:
        scheme = {"type": "HEADER", "key": "Authorization"}
        return {"type": "HTTP", "config": {"uri": self.uri, "authScheme": scheme}}

    def for_create(self) -> Json:
        return {"channel": {"version": VERSION, "config": {"headers": []}}}

    def kept(self, item: Json) -> Json:
        # For example, a header that somebody has added for a gateway.
        headers = member(item, "channel.config.headers") or []
        return {"channel": {"version": VERSION, "config": {"headers": headers}}}

    def secrets(self) -> Json:
        if not self._header:
            raise OktaError(f"{self.name} would have no authentication, so it is not sent")
        return {"channel": {"config": {"authScheme": {"value": self._header}}}}


class EventHook(HookResource):
    """Okta can send it with nothing but HTTP Basic."""

    collection = path_of("eventHooks")

    def fields(self) -> Json:
        events = {"type": "EVENT_TYPE", "items": list(self.hook.event_types)}
        return {"name": self.name, "events": events, "channel": self.channel()}

    def kept(self, item: Json) -> Json:
        event_filter = member(item, "events.filter")
        kept = picked(item, "description") | {"events": {"filter": event_filter}}
        return merged(kept, super().kept(item))

    @property
    def is_verified(self) -> bool:
        return (self.item or {}).get("verificationStatus") == "VERIFIED"

    def verify(self) -> None:
        """Let Okta make its one-time check. Raises OktaError if it fails."""
        self.item = self.org.okta.post(f"{self.path}/lifecycle/verify") | {"id": self.id}


class InlineHook(HookResource):
    """With HTTP Basic, or with a token that Okta gets as `app`.

    `issuer` and `scope` are the authorization server's and the token's.
    """

    collection = path_of("inlineHooks")

    def __init__(
        self,
        org: Org,
        hook: Hook,
        prefix: str,
        url: str,
        *,
        header: str | None = None,
        app: App | None = None,
        issuer: str = "",
        scope: str = "",
    ):
        super().__init__(org, hook, prefix, url, header)
        self.app, self._issuer, self._scope = app, issuer, scope

    @property
    def holds_secret(self) -> bool:
        return self.app is None or self.app.key is None

    @property
    def auth_type(self) -> str | None:
        if self.app is None:
            return None
        return "private_key_jwt" if self.app.key else "client_secret_post"

    def find(self, *, fresh: bool = False) -> None:
        super().find(fresh=fresh)
        if self.item and self.item.get("type") != self.hook.type:
            raise InTheWay(f"{self.name} is there with another type: rename it, or choose a --name")

    def fields(self) -> Json:
        channel = self.channel()
        config = channel["config"] | {"method": "POST"}
        if self.app:
            channel["type"] = "OAUTH"
            del config["authScheme"]
            config |= {
                "authType": self.auth_type,
                "clientId": self.app.client_id,
                "tokenUrl": f"{self._issuer}/v1/token",
                "scope": self._scope,
            }
            if self.app.key:
                config["hookKeyId"] = self.app.key.id
        return {"name": self.name, "channel": channel | {"config": config}}

    def for_create(self) -> Json:
        return merged(super().for_create(), {"type": self.hook.type, "version": VERSION})

    def kept(self, item: Json) -> Json:
        version = item.get("version") or VERSION
        return merged(super().kept(item), {"version": version})

    def secrets(self) -> Json:
        if self.app is None:
            return super().secrets()
        if self.app.key:
            return {}
        return {"channel": {"config": {"clientSecret": self.app.client_secret()}}}

    def execute(self, payload: Json) -> Json:
        """What the hook answers to Okta. Raises OktaError if Okta could not use it."""
        return self.org.okta.post(f"{self.path}/execute", payload)
