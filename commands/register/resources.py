"""A resource in Okta: how it is found, compared and sent, and the steps for several of them.

Only what is sent is compared. Secrets cannot be, since no answer has them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .client import Json, NoAnswer, Okta, OktaError

# Stands for an ID that is known only after an earlier step.
NEW = "new"

AS_IT_SHOULD_BE = "as it should be"
IN_THE_WAY = "in the way"


class InTheWay(OktaError):
    """Something must stay as it is. `str()` says why; `action` is the word for it in the plan.

    With any other word than IN_THE_WAY, only this one is left out.
    """

    def __init__(self, why: str, action: str = IN_THE_WAY):
        super().__init__(why)
        self.action = action


@dataclass(eq=False)
class Resource:
    """One thing, found by its name. `item` is what Okta has of it; None if there is nothing."""

    okta: Okta
    what: str
    name: str
    collection: str
    """The path of the collection that it is in; below that of `parent`, if there is one."""
    fields: Callable[[], Json]
    """What it must have. What is None must be absent."""
    fixed: Json = field(default_factory=dict)
    """Paths and values that cannot be changed. With other values, it is another resource."""
    defaults: Json = field(default_factory=dict)
    """What is also sent if Okta has no value for it. None: only keep the value that Okta has."""
    parent: "Resource | None" = None
    item: Json | None = field(default=None, init=False)

    list_query = ""
    inactive_before_delete = holds_secret = False

    def __post_init__(self) -> None:
        # What the reader sees beside `what`.
        self.detail = self.name

    @property
    def id(self) -> str:
        return self.must_have("id")

    @property
    def path(self) -> str:
        return f"{self.collection_path}/{self.id}"

    @property
    def collection_path(self) -> str:
        return f"{self.parent.path}/{self.collection}" if self.parent else self.collection

    def must_have(self, name: str) -> str:
        """An ID that Okta gave; NEW while there is nothing. Raises OktaError if it gave none."""
        if self.item is None:
            return NEW
        if not (value := self.item.get(name)):
            raise OktaError(f"Okta's answer about the {self.what} {self.name} has no {name}")
        return str(value)

    def kept(self) -> Json:
        """What a change sends as Okta has it, since it would otherwise be lost."""
        return _overlaid(self.defaults, self.item)

    def extra(self) -> Json:
        """What is also sent but cannot be compared, such as secrets."""
        return {}

    def check(self) -> None:
        """Raises InTheWay if it must not be created or changed."""

    def check_removal(self) -> None:
        """Raises InTheWay if it must not be removed."""

    def matching(self, listed: list[Json]) -> list[Json]:
        """Those that can be this one."""
        return [each for each in listed if each.get("name") == self.name]

    def find(self, *, fresh: bool = False) -> None:
        """Look it up. Raises InTheWay."""
        if self.parent and not self.parent.item:
            return
        path = self.collection_path + self.list_query
        found = self.matching(self.okta.objects(path, fresh=fresh))
        if len(found) > 1:
            ids = ", ".join(str(each.get("id")) for each in found)
            raise InTheWay(f"{len(found)} have this name. OKTA_CLIENT_ID can choose one: {ids}")
        self.item = found[0] if found else None
        for path, value in self.fixed.items():
            has = member(self.item, path)
            if self.item and _comparable(path, has) != _comparable(path, value):
                raise InTheWay(
                    f"{self.name} is there, but its {path} is {has}: choose another name"
                )

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
        body = merged(self.defaults, self.fields(), self.extra())
        try:
            self.item = self.okta.call("POST", self.collection_path, body)
        except NoAnswer:
            # If it were sent again, there could be two.
            self.find(fresh=True)
            if self.item is None:
                raise

    def change(self) -> None:
        body = merged(self.kept(), self.fields(), self.extra())
        self.item = self.okta.call("PUT", self.path, body)

    def activate(self) -> None:
        self.okta.call("POST", f"{self.path}/lifecycle/activate")

    def remove(self) -> None:
        if self.inactive_before_delete and member(self.item, "status") == "ACTIVE":
            self.okta.call("POST", f"{self.path}/lifecycle/deactivate")
        self.okta.delete(self.path)


# The action, the resource, and what to show beside them.
Step = tuple[str, Resource, str]


def plan(resources: list[Resource], *, rewrite_secrets: bool) -> Iterator[Step]:
    """The steps, including those that change nothing."""
    for each in resources:
        try:
            each.find()
            each.check()
        except InTheWay as problem:
            yield problem.action, each, str(problem)
            continue
        if each.item is None:
            yield "create", each, each.detail
            continue
        changes = each.changes()
        if not changes and rewrite_secrets and each.holds_secret:
            changes = "its secret is written again"
        if changes:
            yield "change", each, changes
        if each.item.get("status") == "INACTIVE":
            yield "activate", each, each.detail
        elif each.item.get("verificationStatus") == "UNVERIFIED" and not changes:
            # After a change, it is verified in any case.
            yield "verify", each, each.detail
        elif not changes:
            yield AS_IT_SHOULD_BE, each, each.detail


def removal(resources: list[Resource]) -> list[Step]:
    """The steps that remove what is there, in reverse order of creation."""
    steps: list[Step] = []
    # A rule is found through its policy, so look them up in the order of creation.
    for each in resources:
        try:
            each.find()
            if each.item:
                each.check_removal()
                steps.append(("remove", each, each.name))
        except InTheWay as problem:
            steps.append((problem.action, each, str(problem)))
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
    """Merge objects, without what is None. Later values win."""
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
    whole: Json = {}
    for name, default in defaults.items():
        has = member(item, name)
        whole[name] = _overlaid(default, has) if isinstance(default, dict) else has or default
    return whole


def _comparable(path: str, value: Any) -> object:
    """A value to compare: lists in any order; absent, null, empty and false are the same."""
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
