"""From what the product says to the bytes of a CloudEvent (spec 2.1, 2.3). Pure.

What the service would refuse is refused here, while the one who made the mistake is still on the stack. No binary float
gets through: an int is written as its digits, a text as it is, a `Decimal` as a plain decimal in a string (spec 1.1).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias, Union

import msgspec

from schemas.event import TEXT_MAX
from schemas.instants import Instant, instant_text
from schemas.numbers import Number, plain_text

EVENT_BYTES_MAX: Final = 262_144
"""Of one event; more is not taken by the service."""

DEPTH_MAX: Final = 100
"""Maps and lists that data may nest."""

Value: TypeAlias = Union[bool, int, str, Decimal, "Mapping[str, Value]", "Sequence[Value]", None]
"""What data may hold. Floats are missing on purpose."""

Data: TypeAlias = Mapping[str, Value]
Time: TypeAlias = datetime | Instant | str
"""An aware `datetime`, an `Instant`, or RFC 3339 text with an offset."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def event_bytes(
    event_id: str, source: str, event_type: str, subject: str, time: str, data: Data, subscription: str | None = None
) -> bytes:
    """One event as JSON without line breaks; `time` as `time_text` wrote it.

    Raises `TypeError` for what data cannot hold (a float first of all), `ValueError` for a name, a number or a text
    that the service would refuse.
    """
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": checked_name("id", event_id),
        "source": checked_name("source", source),
        "type": checked_name("type", event_type),
        "subject": checked_name("subject", subject),
        "time": time,
    }
    if subscription is not None:
        event["subscription"] = checked_name("subscription", subscription)
    if not isinstance(data, Mapping):
        raise TypeError(f"data is {_kind(data)}; it is a map of names to values")
    if data:
        event["data"] = _writable(data, "data", 1)
    raw = msgspec.json.encode(event)
    if b"\\u0000" in raw:
        raise ValueError("the event holds a NUL character; no text that is kept may have one")
    if len(raw) > EVENT_BYTES_MAX:
        raise ValueError(f"the event has {len(raw):,} bytes; {EVENT_BYTES_MAX:,} are the most that is taken")
    return raw


def time_text(time: Time) -> str:
    """A time as it is sent: UTC, to the microsecond. `ValueError` without an offset, `TypeError` for anything else."""
    if isinstance(time, str):
        return instant_text(Instant.parse(time))
    if isinstance(time, datetime):
        return instant_text(Instant.of(time))
    if isinstance(time, Instant):
        return instant_text(time)
    raise TypeError(f"time is {_kind(time)}; pass an aware datetime or text such as 2026-01-31T23:59:59Z")


def checked_name(attribute: str, name: str) -> str:
    """A name that the service takes (spec 2.3); `TypeError` or `ValueError` says why it would not."""
    if not isinstance(name, str):
        raise TypeError(f"{attribute} is {_kind(name)}; it is a text")
    if not 1 <= len(name) <= TEXT_MAX:
        raise ValueError(f"{attribute} has {len(name)} characters; 1 to {TEXT_MAX} are taken")
    if not name.isprintable() and _CONTROL.search(name):
        raise ValueError(f"{attribute} {name!r} has a control character")
    if name != name.strip():
        raise ValueError(f"{attribute} {name!r} has a blank at an edge")
    return name


def _writable(value: Any, place: str, depth: int) -> Any:
    """A value as it is encoded; errors name its place."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)  # Of a class of its own too: the encoder knows only the built-in ones.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Decimal):
        return _decimal_text(value, place)
    if isinstance(value, float):
        raise TypeError(
            f"{place} is the float {value!r}, and a binary float is not the number that was meant:"
            f" pass an int, a decimal.Decimal, or the number as a text such as '{value!r}'"
        )
    if depth > DEPTH_MAX:
        raise ValueError(f"{place[:80]} nests more than {DEPTH_MAX} maps and lists")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{place} has the key {key!r}, {_kind(key)}; keys are texts")
        return {key: _writable(held, f"{place}.{key}", depth + 1) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(held, f"{place}[{index}]", depth + 1) for index, held in enumerate(value)]
    raise TypeError(f"{place} is {_kind(value)}; data holds texts, ints, Decimals, booleans, None, maps and lists")


def _decimal_text(value: Decimal, place: str) -> str:
    """A decimal without exponent and trailing zeros: the text that a filter sees of a number too (spec 3.1)."""
    try:
        return plain_text(Number.parse(str(value)))
    except ValueError as error:
        raise ValueError(f"{place}: {error}; round it where it is made") from None


def _kind(value: Any) -> str:
    return f"a {value.__class__.__name__}"
