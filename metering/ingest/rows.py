"""Rows of a file to events: what `metering import` maps. Pure.

A mapping says where each attribute of an event comes from: `data.tokens=Tokens` takes the column `Tokens` (of JSON: the
dotted path), `type==llm.call` the text `llm.call`. A column's text stays text, digit by digit, so no number is ever
rounded and `1.0` stays `1.0`; an empty cell is absent. JSON values stay what they are, numbers by their literal.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from metering.errors import ConfigurationError
from schemas.faults import nearest
from schemas.instants import SECOND, Instant, instant_text

ATTRIBUTES: Final = ("id", "source", "type", "subject", "time", "subscription")
UNIX: Final = {"unix": 1, "unix_ms": 1_000}
_NAIVE: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?", re.ASCII)
_SECONDS: Final = re.compile(r"-?\d{1,13}(\.\d{1,9})?", re.ASCII)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RowInvalid(ValueError):
    """A row from which no event can be made."""


class Source(NamedTuple):
    """Where a value comes from: a column or path, or a text that is the same for all rows."""

    column: str
    literal: bool


class Times:
    """Reads times: RFC 3339, `2026-01-31 23:59:59.123` in a zone, or a format that is named."""

    def __init__(self, zone: str = "UTC", form: str | None = None) -> None:
        """zone: IANA, for times without an offset. form: of `strptime`, or `unix` or `unix_ms`."""
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(f"{zone!r} is no time zone such as Europe/Amsterdam or UTC") from None
        self._form = form

    def text_of(self, written: str) -> str:
        """The time as events carry it, in UTC; digits below the microsecond are cut off. `ValueError` if it is none."""
        try:
            return instant_text(self._instant(written))
        except OverflowError:
            raise ValueError(f"{written!r} is no time between the years 1 and 9999") from None

    def _instant(self, written: str) -> int:
        if self._form in UNIX:
            if not _SECONDS.fullmatch(written):
                raise ValueError(f"{written!r} is no number of (milli)seconds since 1970")
            return int(Decimal(written) * SECOND // UNIX[self._form or ""])
        if self._form is not None:
            return self._in_zone(datetime.strptime(written, self._form))  # noqa: DTZ007 - see _in_zone
        naive = _NAIVE.fullmatch(written)
        if naive is None:
            return Instant.parse(written)
        day, minute, second, finer = naive.groups()
        micro = (finer or "")[:6].ljust(6, "0")
        return self._in_zone(datetime.fromisoformat(f"{day}T{minute}{second or ':00'}.{micro}"))

    def _in_zone(self, moment: datetime) -> Instant:
        """Without an offset, in our zone; of an hour that comes twice, the first."""
        return Instant.of(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))


def parse_mapping(pairs: Sequence[str]) -> dict[str, Source]:
    """The mapping from `field=column` and `field==text`; `ConfigurationError` names the pair that is wrong."""
    mapping: dict[str, Source] = {}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        field = field.strip()
        literal = value.startswith("=")
        if not equals or not value.removeprefix("="):
            raise ConfigurationError(f"--map {pair!r}: write field=column, or field==text for a text of all rows")
        if field not in ATTRIBUTES and not (field.startswith("data.") and all(field.split("."))):
            known = [*ATTRIBUTES, "data.<name>"]
            raise ConfigurationError(f"--map {pair!r}: {field!r} is no field of an event; {nearest(field, known)}")
        if field in mapping:
            raise ConfigurationError(f"--map {pair!r}: {field!r} is mapped twice")
        mapping[field] = Source(value.removeprefix("=") if literal else value, literal)
    for field in mapping:
        if any(other.startswith(field + ".") for other in mapping):
            raise ConfigurationError(f"--map: {field!r} cannot be a value and hold others as well")
    return mapping


class RowMapper:
    """Makes the event of each row of one file."""

    def __init__(self, mapping: Mapping[str, Source], times: Times, name: str) -> None:
        """name: of the file; with the row's number it is the id of an event that has no other."""
        self._mapping = mapping
        self._times = times
        self._name = name

    def check_columns(self, columns: Sequence[str]) -> None:
        """`ConfigurationError` if the mapping names a column that the file does not have."""
        for field, source in self._mapping.items():
            if not source.literal and source.column not in columns:
                hint = nearest(source.column, list(columns))
                raise ConfigurationError(f"{self._name} has no column {source.column!r} for {field}; {hint}")

    def from_cells(self, number: int, cells: Mapping[str, str]) -> bytes:
        """The event of row `number` (from 1) of a CSV file; `RowInvalid` says why there is none."""
        return self._event(number, {column: cell for column, cell in cells.items() if cell != ""})

    def from_json(self, number: int, line: bytes) -> bytes:
        """The event of line `number` of a JSONL file: mapped, or as it is where nothing is mapped."""
        try:
            row = _OBJECT.decode(line)
            values = {
                source.column: value
                for source in self._mapping.values()
                if not source.literal and (value := _at(row, source.column)) is not None
            }
        except (ValueError, RecursionError) as error:
            raise RowInvalid(f"no JSON object: {error}") from None
        return self._event(number, values) if self._mapping else line

    def _event(self, number: int, values: Mapping[str, Any]) -> bytes:
        event: dict[str, Any] = {"specversion": "1.0", "id": f"{self._name}:{number}", "source": "import"}
        for field, (column, literal) in self._mapping.items():
            value = column if literal else values.get(column)
            if value is None:
                continue
            if field == "time":
                value = self._time(value)
            _put(event, field.split("."), value)
        return msgspec.json.encode(event)

    def _time(self, value: Any) -> str:
        text = value if isinstance(value, str) else bytes(value).decode().strip('"')
        try:
            return self._times.text_of(text)
        except ValueError as error:
            raise RowInvalid(f"time: {error}") from None


def _at(row: Mapping[str, msgspec.Raw], path: str) -> msgspec.Raw | None:
    """The raw JSON value at a dotted path; None if it is absent or null."""
    head, _, rest = path.partition(".")
    value = row.get(head)
    if value is None or bytes(value) == b"null":
        return None
    return _at(_OBJECT.decode(value), rest) if rest else value


def _put(event: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        event = event.setdefault(name, {})
    event[path[-1]] = value
