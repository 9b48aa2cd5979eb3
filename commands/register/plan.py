"""Compare what is in the org with what should be there, and plan the steps between the two.

Only what is sent is compared. Secrets cannot be, since no answer has them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .client import Json, NoAnswer, Okta, OktaError
from .inputs import Choices

# Stands for an ID that is known only after an earlier step.
NEW = "new"
# What Okta sets itself.
READ_ONLY = (
    "id",
    "created",
    "createdBy",
    "lastUpdated",
    "verificationStatus",
    "system",
    "_links",
    "_embedded",
)

AS_IT_SHOULD_BE = "as it should be"
IN_THE_WAY = "in the way"


class InTheWay(OktaError):
    """Something must stay as it is. `str()` says why; `action` is the word for it in the plan.

    With any other word than IN_THE_WAY, only this one is left out.
    """

    def __init__(self, why: str, action: str = IN_THE_WAY):
        super().__init__(why)
        self.action = action


class Resource:
    """One thing in the org, found by its name. `item` is what Okta has of it, or None."""

    what = collection = query = how_to_choose = ""
    parent: "Resource | None" = None
    """The collection of a rule is below its policy."""
    holds_secret = inactive_before_delete = False

    def __init__(self, okta: Okta, choices: Choices, name: str = ""):
        self.okta, self.choices = okta, choices
        self.name = name or choices.prefix
        self.item: Json | None = None
        # What the plan shows beside `what`.
        self.detail = self.name
        # Paths and values that cannot be changed. With other values, it is another resource.
        self.fixed: Json = {}
        # What only a new one gets.
        self.new: Json = {}

    def fields(self) -> Json:
        """What it must have. What is None must be absent."""
        return {"name": self.name}

    def secrets(self) -> Json:
        """What it must have as well, but no answer has."""
        return {}

    def rest(self) -> Json:
        """What else it has. A PUT must send that too, since Okta forgets what is left out."""
        has = self.item or self.new
        return {name: value for name, value in has.items() if name not in READ_ONLY}

    def check(self) -> None:
        """Raises InTheWay if it must not be created or changed."""

    def check_removal(self) -> None:
        """Raises InTheWay if it must not be removed."""

    def matching(self, listed: list[Json]) -> list[Json]:
        """Those that can be this one."""
        return [each for each in listed if each.get("name") == self.name]

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
        value = NEW if self.item is None else self.item.get(name)
        if not value:
            raise OktaError(f"Okta's answer about the {self.what} {self.name} has no {name}")
        return str(value)

    def find(self) -> None:
        """Look it up. Raises InTheWay."""
        if self.parent and not self.parent.item:
            return
        found = self.matching(self.okta.objects(self.collection_path + self.query))
        if len(found) > 1:
            ids = ", ".join(str(each.get("id")) for each in found)
            raise InTheWay(f"there are {len(found)} with this name{self.how_to_choose}: {ids}")
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
        try:
            self.item = self.okta.call("POST", self.collection_path, self._whole())
        except NoAnswer:
            # If it were sent again, there could be two.
            self.find()
            if self.item is None:
                raise

    def change(self) -> None:
        # Others may have changed it since the plan.
        self.item = self.okta.call("GET", self.path)
        self.item = self.okta.call("PUT", self.path, self._whole())

    def _whole(self) -> Json:
        return merged(self.rest(), self.fields(), self.secrets())

    def activate(self) -> None:
        self.okta.call("POST", f"{self.path}/lifecycle/activate")

    def remove(self) -> None:
        """Remove it. It may already be gone."""
        try:
            if self.inactive_before_delete and member(self.item, "status") == "ACTIVE":
                self.okta.call("POST", f"{self.path}/lifecycle/deactivate")
            self.okta.call("DELETE", self.path)
        except OktaError as error:
            if error.status != 404:
                raise


class Step(NamedTuple):
    action: str
    resource: Resource
    detail: str


def plan(resources: list[Resource], *, rewrite_secrets: bool) -> Iterator[Step]:
    """The steps, including those that change nothing."""
    for each in resources:
        try:
            each.find()
            each.check()
        except InTheWay as problem:
            yield Step(problem.action, each, str(problem))
            continue
        if each.item is None:
            yield Step("create", each, each.detail)
            continue
        changes = each.changes()
        if not changes and rewrite_secrets and each.holds_secret:
            changes = "its secret is written again"
        if changes:
            yield Step("change", each, changes)
        if each.item.get("status") == "INACTIVE":
            yield Step("activate", each, each.detail)
        elif each.item.get("verificationStatus") == "UNVERIFIED" and not changes:
            # After a change, it is verified in any case.
            yield Step("verify", each, each.detail)
        elif not changes:
            yield Step(AS_IT_SHOULD_BE, each, each.detail)


def removal(resources: list[Resource]) -> list[Step]:
    """The steps that remove what is there, in reverse order of creation."""
    steps: list[Step] = []
    # A rule is found through its policy, so look them up in the order of creation.
    for each in resources:
        try:
            each.find()
            if each.item:
                each.check_removal()
                steps.append(Step("remove", each, each.name))
        except InTheWay as problem:
            steps.append(Step(problem.action, each, str(problem)))
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
            else:
                whole[name] = value
    return {name: value for name, value in whole.items() if value is not None}


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
