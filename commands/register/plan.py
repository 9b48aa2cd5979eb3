"""What this service needs in the org, what differs from it, and the steps that change it.

The order is that in which they need each other: hook key, app, scope, policy, rule, hooks. They are
removed in the reverse order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from .client import NO_API_ACCESS_MANAGEMENT, Json, OktaError, path_of, quoted
from .hooks import EventHook, Hook, HookResource, InlineHook
from .oauth import METHOD, SCOPE_DESCRIPTION, App, HookKey, Policy, Rule, Scope
from .resources import InTheWay, Org, Resource, member

TO_DO = ("create", "change", "activate", "verify", "remove")
AS_IT_SHOULD_BE = "as it should be"
IN_THE_WAY = "in the way"
BY_HAND = "by hand"
LEFT = "left"


@dataclass(frozen=True)
class Choices:
    """What the options and settings say."""

    prefix: str
    url: str
    hooks: list[Hook]
    all_hooks: bool
    auth: str
    issuer: str
    audience: str
    scope: str
    client_ids: frozenset[str]
    header: str | None = field(repr=False)
    """The Basic header that Okta sends."""
    rewrite_secrets: bool = False

    @property
    def server(self) -> str:
        """The ID of the authorization server: the last part of its issuer, or nothing."""
        _, found, server = self.issuer.partition("/oauth2/")
        return server if found else ""


@dataclass(frozen=True)
class Step:
    action: str
    resource: Resource
    detail: str


def wanted(org: Org, choices: Choices) -> list[Resource]:
    """What there must be, in the order in which it is made."""
    resources: list[Resource] = []
    app = None
    if choices.auth != "basic":
        key = HookKey(org, "hook key", choices.prefix) if choices.auth == "private-key" else None
        app = App(org, choices.prefix, choices.client_ids, key)
        scope = Scope(org, "scope", choices.scope, choices.server)
        policy = Policy(org, choices.prefix, choices.server, app)
        rule = Rule(org, choices.prefix, policy, scope)
        resources += [key, app, scope, policy, rule] if key else [app, scope, policy, rule]
    place = (choices.prefix, choices.url)
    for hook in choices.hooks:
        if hook.type is None:
            resources.append(EventHook(org, hook, *place, choices.header))
            continue
        resource = InlineHook(
            org,
            hook,
            *place,
            header=None if app else choices.header,
            app=app,
            issuer=choices.issuer,
            scope=choices.scope,
        )
        # An active telephony hook is used at once, so it is made only if it was asked for.
        if not hook.is_telephony or not choices.all_hooks or _is_there(resource):
            resources.append(resource)
    return resources


def plan(resources: list[Resource], choices: Choices) -> list[Step]:
    """The steps, and what they need not or cannot change."""
    return [step for each in resources for step in _steps(each, resources, choices)]


def _steps(resource: Resource, resources: list[Resource], choices: Choices) -> Iterator[Step]:
    try:
        resource.find()
        _refuse_what_would_break(resource, resources)
    except InTheWay as problem:
        yield Step(IN_THE_WAY, resource, str(problem))
        return
    if resource.item is None:
        if name := resource.by_hand():
            detail = f"“{name}” has the same URL: not made a second time"
            yield Step(BY_HAND, resource, detail)
        else:
            yield Step("create", resource, resource.detail)
        return
    changes = shown(resource.differences())
    if not changes and choices.rewrite_secrets and resource.holds_secret:
        changes = "its secret is written again"
    if changes:
        yield Step("change", resource, changes)
    is_active = resource.item.get("status") in (None, "ACTIVE")
    if not is_active and not (_is_telephony(resource) and choices.all_hooks):
        yield Step("activate", resource, resource.detail)
    elif isinstance(resource, EventHook) and not resource.is_verified and not changes:
        yield Step("verify", resource, resource.detail)
    elif not changes:
        yield Step(AS_IT_SHOULD_BE, resource, resource.detail)


def _refuse_what_would_break(resource: Resource, resources: list[Resource]) -> None:
    """Raises InTheWay for what would stop somebody else's hooks, or hooks that are not named."""
    if isinstance(resource, App) and resource.item:
        others = hooks_that_use(resource, resources)
        if others and member(resource.item, METHOD) != resource.method:
            raise InTheWay(
                f"{', '.join(others)} would get no token with it any more: leave out --hooks, or "
                "change a hook that was made by hand first"
            )
    if isinstance(resource, InlineHook) and _is_telephony(resource) and resource.item is None:
        for other in resource.org.list(resource.collection):
            if other.get("type") == resource.hook.type and other.get("status") == "ACTIVE":
                raise InTheWay(f"“{other.get('name')}” is active, and an org uses only one")


def removal(resources: list[Resource], choices: Choices) -> list[Step]:
    """The steps that take away what is there, the last made first."""
    steps = []
    for resource in resources:
        try:
            # A rule is found by its policy, so this order is the one in which things are made.
            resource.find()
            if _is_telephony(resource) and resource.item and choices.all_hooks:
                raise InTheWay(
                    "the org sends its codes with it. Remove it by name first: --remove --hooks "
                    + resource.hook.name
                )
        except InTheWay as problem:
            steps.append(Step(IN_THE_WAY, resource, str(problem)))
    for resource in reversed([each for each in resources if each.item and not steps]):
        try:
            reason = _reason_to_leave(resource, resources, choices)
            steps.append(Step(LEFT if reason else "remove", resource, reason or resource.name))
        except InTheWay as problem:
            steps.append(Step(IN_THE_WAY, resource, str(problem)))
    return steps


def _reason_to_leave(resource: Resource, resources: list[Resource], choices: Choices) -> str | None:
    """Raises InTheWay for what is in use."""
    if isinstance(resource, (App, HookKey)) and (others := hooks_that_use(resource, resources)):
        raise InTheWay(f"{', '.join(others)} still uses it: remove or change that hook first")
    if isinstance(resource, InlineHook):
        for rule in _rules(resource.org, choices.server):
            if member(rule, "actions.token.inlineHook.id") == resource.id:
                raise InTheWay(f"the rule “{rule.get('name')}” uses it: take it out there first")
    if isinstance(resource, Scope) and resource.item:
        if resource.item.get("description") != SCOPE_DESCRIPTION:
            return f"{resource.name} was not made by this command"
        ours = [each.id for each in resources if isinstance(each, Rule)]
        for rule in _rules(resource.org, choices.server):
            scopes = member(rule, "conditions.scopes.include") or []
            if resource.name in scopes and rule.get("id") not in ours:
                return f"{resource.name} is named by the rule “{rule.get('name')}”"
    return None


def hooks_that_use(resource: App | HookKey, resources: list[Resource]) -> list[str]:
    """The names of inline hooks that are not among `resources` and use this app or key."""
    ours = {each.name for each in resources if isinstance(each, InlineHook)}
    if isinstance(resource, App):
        path, value = "channel.config.clientId", resource.client_id
    else:
        path, value = "channel.config.hookKeyId", resource.id
    hooks = resource.org.list(InlineHook.collection)
    users = [str(each.get("name")) for each in hooks if member(each, path) == value]
    return [f"“{name}”" for name in users if name not in ours]


def _rules(org: Org, server: str) -> Iterator[Json]:
    """All rules of the authorization server, if there is one."""
    if not server:
        return
    path = path_of("authorizationServers", server, "policies")
    try:
        policies = org.list(path)
    except OktaError as error:
        if error.code != NO_API_ACCESS_MANAGEMENT:
            raise
        return
    for policy in policies:
        yield from org.list(f"{path}/{quoted(policy.get('id'))}/rules")


def apply(step: Step) -> None:
    """Do it. Raises OktaError. Event hooks are verified later, with the tests."""
    match step.action:
        case "create":
            step.resource.create()
        case "change":
            step.resource.replace()
        case "activate":
            step.resource.activate()
        case "remove":
            step.resource.remove()


def check_server(org: Org, choices: Choices) -> str:
    """The authorization server's name. Raises OktaError if it is not the one that is meant."""
    server = org.okta.get(path_of("authorizationServers", choices.server))
    audiences = server.get("audiences") or [None]
    for what, has, expected in (
        ("is not active: its status", server.get("status"), "ACTIVE"),
        ("has another issuer than OKTA_ISSUER", server.get("issuer"), choices.issuer),
        ("has another audience than OKTA_AUDIENCE", audiences[0], choices.audience),
    ):
        if has != expected:
            raise OktaError(
                f"The authorization server {choices.server} {what} ({has}, not {expected}). "
                "This command changes no server. Correct .env, and start the service again"
            )
    return str(server.get("name"))


def shown(differences: list[tuple[str, object, object]]) -> str:
    """For the reader. Of a hook that gets another authentication, only what it had before."""
    had = [each for each in differences if each[1] not in (None, [], "")] or differences
    return ", ".join(
        f"{path.rpartition('.')[2]}: {_text(old)} → {_text(new)}" for path, old, new in had
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return str(value.get("id", "something"))
    return "none" if value is None else str(value)


def _is_telephony(resource: Resource) -> TypeGuard[HookResource]:
    return isinstance(resource, HookResource) and resource.hook.is_telephony


def _is_there(resource: Resource) -> bool:
    resource.find()
    return resource.item is not None
