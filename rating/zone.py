"""Local dates of a time zone: midnights, and which date an instant belongs to (spec 6.2, 7.2 `day`).

Dates are proleptic ordinals (`date.toordinal()`), instants microseconds since 1970-01-01T00:00:00Z.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.instants import DAY, HOUR, SECOND, Instant

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Zone:
    """A time zone by its IANA name, with the midnights that were asked for kept."""

    __slots__ = ("_midnights", "info", "name")

    def __init__(self, name: str) -> None:
        """`ValueError` for a name that the time zone database does not have."""
        try:
            self.info = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Amsterdam") from None
        self.name = name
        self._midnights: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"Zone({self.name!r})"

    def midnight(self, ordinal: int) -> int:
        """The instant at which a local date begins: of two midnights the first, of a skipped one the gap's end."""
        found = self._midnights.get(ordinal)
        if found is None:
            found = self._midnights[ordinal] = self._find_midnight(ordinal)
        return found

    def local_date(self, instant: int) -> int:
        """The date on the local calendar at an instant."""
        return (_EPOCH + timedelta(microseconds=instant)).astimezone(self.info).toordinal()

    def owning_date(self, instant: int) -> int:
        """The last date that has begun at an instant: never goes back, even where clocks go back over midnight."""
        return _owning_date(self, instant)

    def dates_ended(self, start: int, end: int) -> int:
        """How many local dates end in start < t <= end: those that belong to the span by spec 7.2 `day`."""
        first, last = self.owning_date(start), self.owning_date(end)
        moved = self._offset(end) - self._offset(start)
        if abs(moved) < 12 * HOUR:
            return last - first
        # The zone crossed the date line: a date that does not exist there has no length and is not counted.
        return sum(self.midnight(day) < self.midnight(day + 1) for day in range(first, last))

    def _find_midnight(self, ordinal: int) -> int:
        wall = datetime.fromordinal(ordinal)
        first = int(Instant.of(wall.replace(tzinfo=self.info)))
        if self._wall(first) == wall:
            return first
        # The wall clock never shows it. fold=1 reads it with the offset after the gap: an instant before the gap.
        before, after = int(Instant.of(wall.replace(tzinfo=self.info, fold=1))), first
        old = self._offset(before)
        while after - before > SECOND:
            middle = (before + after) // (2 * SECOND) * SECOND
            before, after = (middle, after) if self._offset(middle) == old else (before, middle)
        return after

    def _wall(self, instant: int) -> datetime:
        return (_EPOCH + timedelta(microseconds=instant)).astimezone(self.info).replace(tzinfo=None, fold=0)

    def _offset(self, instant: int) -> int:
        offset = (_EPOCH + timedelta(microseconds=instant)).astimezone(self.info).utcoffset()
        assert offset is not None
        return (offset.days * DAY) + offset.seconds * SECOND + offset.microseconds


@lru_cache(maxsize=16_384)
def _owning_date(zone: Zone, instant: int) -> int:
    ordinal = zone.local_date(instant)
    while zone.midnight(ordinal) > instant:
        ordinal -= 1
    while zone.midnight(ordinal + 1) <= instant:
        ordinal += 1
    return ordinal


@lru_cache(maxsize=1024)
def zone(name: str) -> Zone:
    """The zone of an IANA name; `ValueError` if there is none."""
    return Zone(name)
