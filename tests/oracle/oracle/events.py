"""Events (section 2): what is accepted, what is a duplicate, what is refused and why."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from oracle.catalog import Meter
from oracle.meters import value_of, wants
from oracle.numbers import Number, ValueRejected, number
from oracle.times import parse_instant

_FUTURE = timedelta(hours=1)
Identity = tuple[str, str, str]


@dataclass(eq=False)
class Event:
    """A stored event. `sequence` is its place in the order of arrival; `tree` the CloudEvent as sent."""

    sequence: int
    received: datetime
    time: datetime
    tree: dict[str, Any]
    content: object
    voided: datetime | None = None

    @property
    def subject(self) -> str:
        """The customer's key."""
        return str(self.tree["subject"])

    @property
    def subscription(self) -> str | None:
        """The one subscription for which it counts, None: any."""
        name = self.tree.get("subscription")
        return None if name is None else str(name)


def _name(value: object) -> bool:
    """Text of 1 to 255 characters without control characters and blanks at the edges (2.3)."""
    if not isinstance(value, str) or isinstance(value, Number) or not 1 <= len(value) <= 255:
        return False
    controls = any(ord(char) < 32 or 127 <= ord(char) < 160 for char in value)
    return not controls and value == value.strip()


def is_valid(tree: dict[str, Any]) -> bool:
    """Whether it is a CloudEvent of the form of 2.1 and 2.3."""
    if tree.get("specversion", "1.0") != "1.0" or isinstance(tree.get("specversion"), Number):
        return False
    if not all(_name(tree.get(name)) for name in ("id", "source", "type", "subject")):
        return False
    if tree.get("subscription") is not None and not _name(tree["subscription"]):
        return False
    time = tree.get("time")
    if time is not None and (isinstance(time, Number) or parse_instant(time) is None):
        return False
    return tree.get("data") is None or isinstance(tree["data"], dict)


def _by_value(tree: object) -> object:
    """A tree in which numbers compare by value and the order of keys does not matter (2.2)."""
    if isinstance(tree, bool) or tree is None:
        return ("constant", tree)
    if isinstance(tree, Number):
        try:
            return ("number", number(tree))
        except ValueError:
            return ("number", tree.lower())
    if isinstance(tree, str):
        return ("text", tree)
    if isinstance(tree, dict):
        return ("object", frozenset((key, _by_value(value)) for key, value in tree.items()))
    if isinstance(tree, list):
        return ("list", tuple(_by_value(value) for value in tree))
    raise TypeError(f"no value of a document: {tree!r}")


def _content(tree: dict[str, Any]) -> object:
    time = None if tree.get("time") is None else parse_instant(tree["time"])
    return (tree["type"], time, tree.get("subscription"), _by_value(tree.get("data") or {}))


@dataclass
class Intake:
    """Takes events in, in the order of arrival, and counts what became of them."""

    meters: list[Meter]
    late_window: timedelta
    stored: dict[Identity, Event] = field(default_factory=dict)
    accepted: int = 0
    duplicate: int = 0
    duplicate_conflict: int = 0
    unmatched: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def take(self, sent: dict[str, Any], received: datetime) -> None:
        """One event: validity first, then its identity, then its time, then each meter that wants it."""
        tree = {"source": "test", **sent}
        if not is_valid(tree):
            return self._reject(tree, None, "event_invalid")
        identity = (tree["subject"], tree["source"], tree["id"])
        content = _content(tree)
        if identity in self.stored:
            if self.stored[identity].content == content:
                self.duplicate += 1
            else:
                self.duplicate_conflict += 1
            return None
        time = received if tree.get("time") is None else parse_instant(tree["time"])
        if time is None or time > received + _FUTURE:
            return self._reject(tree, None, "time_in_future")
        if time < received - self.late_window:
            return self._reject(tree, None, "time_too_old")
        self.accepted += 1
        event = Event(self.accepted, received, time, tree, content)
        self.stored[identity] = event
        if all(meter.event_type != tree["type"] for meter in self.meters):
            self.unmatched += 1
        for meter in self.meters:
            if wants(meter, event):
                try:
                    value_of(meter, event)
                except ValueRejected as refusal:
                    self._reject(tree, meter.key, refusal.code)
        return None

    def _reject(self, tree: dict[str, Any], meter: str | None, code: str) -> None:
        self.rejected.append({"source": tree.get("source"), "id": tree.get("id"), "meter": meter, "code": code})

    def void(self, source: str, key: str, subject: str | None, at: datetime) -> str | None:
        """Takes an event's effect away (2.7); gives the code of a refusal, or None."""
        found = [
            event
            for identity, event in self.stored.items()
            if identity[1:] == (source, key) and subject in (None, identity[0])
        ]
        if not found:
            return "unknown_event"
        if len(found) > 1:
            return "ambiguous_identity"
        found[0].voided = found[0].voided or at
        return None

    def known(self, subject: str, before: datetime | None) -> list[Event]:
        """A customer's events as they stood just before an instant (None: now), in the order of arrival."""
        return [
            event
            for event in self.stored.values()
            if event.subject == subject
            and (before is None or event.received < before)
            and not (event.voided is not None and (before is None or event.voided < before))
        ]
