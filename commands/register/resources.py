"""A thing that is made in Okta: how it is found, compared, and sent.

Only what is sent is compared. Secrets cannot be, since no answer has them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from .client import Json, NoAnswer, Okta, OktaError, quoted

# Stands for an ID that is known only after an earlier step.
NEW = "new"


class InTheWay(Exception):
    """What this would make cannot be made beside what is there. `str()` says why."""


class Org:
    """What is in the org: each list is asked for once."""

    def __init__(self, okta: Okta):
        self.okta = okta
        self._lists: dict[str, list[Json]] = {}

    def list(self, path: str, *, fresh: bool = False) -> list[Json]:
        if fresh or path not in self._lists:
            self._lists[path] = self.okta.list(path)
        return self._lists[path]


class Resource(ABC):
    """One thing, by its name. `item` is what Okta has, None if it has none.

    `what` and `detail` are for the reader.
    """

    name_field = "name"
    collection = ""
    """Its path."""
    create_query = ""
    inactive_before_delete = False

    def __init__(self, org: Org, what: str, name: str, detail: str = ""):
        self.org, self.what, self.name = org, what, name
        self.detail = detail or name
        self.item: Json | None = None

    @property
    def holds_secret(self) -> bool:
        return False

    @property
    def path(self) -> str:
        return f"{self.collection}/{quoted(self.id)}"

    @property
    def id(self) -> str:
        return self.must_have("id")

    def must_have(self, name: str) -> str:
        """An ID that Okta gave; NEW while there is nothing. Raises OktaError if it gave none."""
        if self.item is None:
            return NEW
        if not (value := self.item.get(name)) or not isinstance(value, str):
            raise OktaError(f"Okta's answer about the {self.what} {self.name} has no {name}")
        return value

    @abstractmethod
    def fields(self) -> Json:
        """What is sent, without secrets. A None is not sent: the field must be absent."""

    def secrets(self) -> Json:
        """What is sent besides, and never compared."""
        return {}

    def for_create(self) -> Json:
        """What is sent only when it is made."""
        return {}

    def kept(self, item: Json) -> Json:
        """What a PUT sends as Okta has it, since it would be lost."""
        return {}

    def find(self, *, fresh: bool = False) -> None:
        """Look it up. Raises InTheWay."""
        listed = self.org.list(self.collection, fresh=fresh)
        found = [each for each in listed if self.is_ours(each)]
        if len(found) > 1:
            ids = ", ".join(str(each.get("id")) for each in found)
            raise InTheWay(f"{len(found)} have the name {self.name}: {ids}")
        self.item = found[0] if found else None

    def is_ours(self, item: Json) -> bool:
        return item.get(self.name_field) == self.name

    def by_hand(self) -> str | None:
        """The name of one that somebody has made for the same purpose."""
        return None

    def differences(self) -> list[tuple[str, object, object]]:
        """Path, old and new value of each field that is not as it should be."""
        return [
            (path, old, new)
            for path, new in leaves(self.fields())
            if comparable(path, old := member(self.item, path)) != comparable(path, new)
        ]

    def create(self) -> None:
        body = merged(self.fields(), self.for_create(), self.secrets())
        try:
            self.item = self.org.okta.post(f"{self.collection}{self.create_query}", body)
        except NoAnswer:
            # Sent again, it could be made twice.
            self.find(fresh=True)
            if self.item is None:
                raise
        self.must_have("id")

    def replace(self) -> None:
        item = self.item or {}
        body = merged(self.fields(), self.kept(item), self.secrets())
        self.item = self.org.okta.put(self.path, body) | {"id": self.id}

    def activate(self) -> None:
        self.org.okta.post(f"{self.path}/lifecycle/activate")

    def remove(self) -> None:
        if self.inactive_before_delete and (self.item or {}).get("status") == "ACTIVE":
            self.org.okta.post(f"{self.path}/lifecycle/deactivate")
        self.org.okta.delete(self.path)


def leaves(fields: Json, path: str = "") -> Iterator[tuple[str, object]]:
    """Each value with its dotted path."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def comparable(path: str, value: Any) -> object:
    """Lists in any order; absent, null, empty and false are the same."""
    if isinstance(value, list):
        return frozenset(map(str, value)) or None
    if ".authScheme." in path and isinstance(value, str):
        return value.lower()
    return value or None


def merged(*parts: Json) -> Json:
    """One body of these, without what is None."""
    body: Json = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                old = body.get(name)
                body[name] = merged(old if isinstance(old, dict) else {}, value)
            elif value is not None:
                body[name] = value
    return body


def member(item: object, path: str) -> Any:
    """What is at a dotted path, or None."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def picked(item: Json, *names: str) -> Json:
    return {name: item[name] for name in names if item.get(name) is not None}
