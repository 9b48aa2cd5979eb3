"""A hook as it is registered, and everything that this service needs in the org."""

from .client import API, Json, Okta, OktaError
from .inputs import Choices, Hook
from .oauth import INLINE_HOOKS, App, oauth_resources, rules
from .resources import InTheWay, Resource, member

EVENT_HOOKS = f"{API}/eventHooks"
VERSION = "1.0.0"


def wanted(okta: Okta, choices: Choices) -> tuple[App | None, list[Resource]]:
    """The app, and everything that must exist, in the order of creation."""
    app: App | None = None
    resources: list[Resource] = []
    if choices.auth != "basic":
        app, resources = oauth_resources(okta, choices)
    for hook in choices.hooks:
        resources.append(HookInOkta(okta, choices, hook, None if hook.is_event else app))
    return app, resources


class HookInOkta(Resource):
    """A hook of this service. Okta sends HTTP Basic, or a token that it gets as `app`."""

    inactive_before_delete = True

    def __init__(self, okta: Okta, choices: Choices, hook: Hook, app: App | None):
        self.choices, self.hook, self.app = choices, hook, app
        self.uri = f"{choices.url}{hook.path}"
        self.holds_secret = app is None or app.key is None
        defaults: Json = {"channel": {"version": VERSION, "config": {"headers": []}}}
        if hook.is_event:
            defaults |= {"description": None, "events": {"filter": None}}
        else:
            defaults |= {"type": hook.type, "version": VERSION}
        hooks = EVENT_HOOKS if hook.is_event else INLINE_HOOKS
        name, fixed = choices.name_of(hook), {} if hook.is_event else {"type": hook.type}
        what = "event" if hook.is_event else hook.name.replace("-", " ").replace("saml", "SAML")
        super().__init__(okta, f"{what} hook", name, hooks, self._fields, fixed, defaults)
        self.detail = self.uri

    def _fields(self) -> Json:
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

    def extra(self) -> Json:
        if self.app is None:
            if not self.choices.header:
                raise OktaError(f"{self.name} would have no authentication, so it is not sent")
            return {"channel": {"config": {"authScheme": {"value": self.choices.header}}}}
        if self.app.key:
            return {}
        return {"channel": {"config": {"clientSecret": self.app.client_secret()}}}

    def check(self) -> None:
        if self.item:
            return
        for other in self.okta.objects(self.collection):
            if self.hook.type in (None, other.get("type")):
                name = other.get("name")
                if self.hook.is_telephony and other.get("status") == "ACTIVE":
                    raise InTheWay(f"“{name}” is active, and an org uses only one")
                if member(other, "channel.config.uri") == self.uri:
                    raise InTheWay(f"“{name}” has the same URL, so no other is created", "by hand")

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
            if self.item.get("verificationStatus") != "VERIFIED":
                self.item = self.okta.call("POST", f"{self.path}/lifecycle/verify")
            return "verified"
        if self.hook.path not in payloads:
            return ""
        answer = self.okta.call("POST", f"{self.path}/execute", payloads[self.hook.path])
        if refusal := member(answer, "error.errorSummary"):
            return f"error: {refusal}"
        commands = [str(member(each, "type")) for each in answer.get("commands") or []]
        return ", ".join(commands) or "no change"
