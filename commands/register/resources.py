"""A thing in Okta: how it is found, compared and sent, and the steps that this makes of several.

Only what is sent is compared. Secrets cannot be, since no answer has them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .client import Json, NoAnswer, Okta, OktaError, quoted

# Stands for an ID that is known only after an earlier step.
NEW = "new"

AS_IT_SHOULD_BE = "as it should be"
IN_THE_WAY = "in the way"


class InTheWay(OktaError):
    """What this would do must not be done beside what is there. `str()` says why."""


@dataclass(eq=False)
class Resource:
    """One thing, found by its name. `item` is what Okta has of it; None if there is nothing."""

    okta: Okta
    what: str
    name: str
    collection: Callable[[], str]
    """The path of the collection that it is in."""
    fields: Callable[[], Json]
    """What it must have. What is None must be absent."""
    defaults: Json = field(default_factory=dict)
    """What is sent besides, where Okta has nothing else. What is None only stays as it is."""
    item: Json | None = field(default=None, init=False)

    name_field = "name"
    list_query = create_query = ""
    inactive_before_delete = holds_secret = False

    def __post_init__(self) -> None:
        # What the reader sees beside `what`.
        self.detail = self.name

    @property
    def id(self) -> str:
        return self.must_have("id")

    @property
    def path(self) -> str:
        return f"{self.collection()}/{quoted(self.id)}"

    def must_have(self, name: str) -> str:
        """An ID that Okta gave; NEW while there is nothing. Raises OktaError if it gave none."""
        if self.item is None:
            return NEW
        if not (value := self.item.get(name)):
            raise OktaError(f"Okta's answer about the {self.what} {self.name} has no {name}")
        return str(value)

    def kept(self) -> Json:
        """What a change sends as Okta has it, since it would be lost."""
        return _overlaid(self.defaults, self.item)

    def secrets(self) -> Json:
        """What is sent besides, and never compared."""
        return {}

    def check(self) -> None:
        """Raises InTheWay if it must not be made or changed."""

    def made_by_hand(self) -> str:
        """The name of one that somebody made for the same purpose."""
        return ""

    def reason_to_leave(self) -> str:
        """Why it is not removed with the others. Raises InTheWay if none of them must be."""
        return ""

    def matching(self, listed: list[Json]) -> list[Json]:
        """Those that can be this one."""
        return [each for each in listed if each.get(self.name_field) == self.name]

    def find(self, *, fresh: bool = False) -> None:
        """Look it up. Raises InTheWay."""
        path = self.collection()
        if f"/{NEW}/" in path:
            # It would be in something that is not there yet.
            return
        found = self.matching(self.okta.objects(path + self.list_query, fresh=fresh))
        if len(found) > 1:
            ids = ", ".join(str(each.get("id")) for each in found)
            raise InTheWay(
                f"{len(found)} have the name {self.name}: {ids}. Let OKTA_CLIENT_ID name the app "
                "that is meant, or choose another --name"
            )
        self.item = found[0] if found else None

    def changes(self) -> str:
        """The fields that are not as they should be, each with its old and new value."""
        found = [
            (path.rpartition(".")[2], old, new)
            for path, new in leaves(self.fields())
            if _comparable(path, old := member(self.item, path)) != _comparable(path, new)
        ]
        # Of a hook that gets another authentication, only what it had before.
        found = [each for each in found if each[1]] or found
        return ", ".join(f"{name}: {_shown(old)} → {_shown(new)}" for name, old, new in found)

    def create(self) -> None:
        body = merged(self.defaults, self.fields(), self.secrets())
        try:
            self.item = self.okta.call("POST", self.collection() + self.create_query, body)
        except NoAnswer:
            # Sent again, it could be made twice.
            self.find(fresh=True)
            if self.item is None:
                raise

    def change(self) -> None:
        body = merged(self.kept(), self.fields(), self.secrets())
        self.item = self.okta.call("PUT", self.path, body)

    def activate(self) -> None:
        self.okta.call("POST", f"{self.path}/lifecycle/activate")

    def remove(self) -> None:
        if self.inactive_before_delete and member(self.item, "status") == "ACTIVE":
            self.okta.call("POST", f"{self.path}/lifecycle/deactivate")
        self.okta.delete(self.path)


@dataclass(frozen=True)
class Step:
    action: str
    resource: Resource
    detail: str


def plan(resources: list[Resource], *, rewrite_secrets: bool) -> list[Step]:
    """The steps, and what they need not or cannot change."""
    return [
        Step(action, resource, detail)
        for resource in resources
        for action, detail in _to_do_with(resource, rewrite_secrets)
    ]


def _to_do_with(resource: Resource, rewrite_secrets: bool) -> Iterator[tuple[str, str]]:
    try:
        resource.find()
        resource.check()
    except InTheWay as problem:
        yield IN_THE_WAY, str(problem)
        return
    if resource.item is None:
        if other := resource.made_by_hand():
            yield "by hand", f"“{other}” has the same URL: not made a second time"
        else:
            yield "create", resource.detail
        return
    changes = resource.changes()
    if not changes and rewrite_secrets and resource.holds_secret:
        changes = "its secret is written again"
    if changes:
        yield "change", changes
    if resource.item.get("status") == "INACTIVE":
        yield "activate", resource.detail
    elif changes:
        # An event hook that was changed is verified after that.
        pass
    elif resource.item.get("verificationStatus") == "UNVERIFIED":
        yield "verify", resource.detail
    else:
        yield AS_IT_SHOULD_BE, resource.detail


def removal(resources: list[Resource]) -> list[Step]:
    """The steps that take away what is there, the last made first."""
    steps = []
    # A rule is found by its policy, so this is the order in which they are made.
    for resource in resources:
        try:
            resource.find()
            if resource.item:
                reason = resource.reason_to_leave()
                steps.append(
                    Step("left" if reason else "remove", resource, reason or resource.name)
                )
        except InTheWay as problem:
            steps.append(Step(IN_THE_WAY, resource, str(problem)))
    return steps[::-1]


def leaves(fields: Json, path: str = "") -> Iterator[tuple[str, object]]:
    """Each value with its dotted path."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def member(item: object, path: str) -> Any:
    """What is at a dotted path, or None."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def merged(*parts: Json) -> Json:
    """One object of these, without what is None. What comes later counts."""
    whole: Json = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                whole[name] = merged(whole.get(name) or {}, value)
            elif value is not None:
                whole[name] = value
    return whole


def _overlaid(defaults: Json, item: object) -> Json:
    """These fields with the values that an item has."""
    return {
        name: _overlaid(default, member(item, name))
        if isinstance(default, dict)
        else member(item, name) or default
        for name, default in defaults.items()
    }


def _comparable(path: str, value: Any) -> object:
    """Lists in any order; absent, null, empty and false are the same."""
    if isinstance(value, list):
        return frozenset(map(_shown, value)) or None
    if ".authScheme." in path and isinstance(value, str):
        return value.lower()
    return value or None


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, dict):
        return str(value.get("kid") or value.get("id"))
    return "none" if value is None else str(value)
