"""Instants: whole microseconds since 1970-01-01T00:00:00Z, read from and written as RFC 3339 (spec 2.1)."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h|d|w|y)", re.ASCII)
_UNIT: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = -719_162 * DAY
_LAST: Final = 2_932_897 * DAY - 1


class Instant(int):
    """Microseconds since the epoch, UTC."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Instant":
        """Read RFC 3339 text with an offset; digits below the microsecond are cut off, never rounded up.

        `ValueError` says what is wrong. Leap seconds and 24:00 are refused: no clock of ours shows them.
        """
        match = _RFC3339.fullmatch(text) if len(text) <= 64 else None
        if match is None:
            raise ValueError(f"{text[:80]!r} is not a time with an offset such as 2026-01-31T23:59:59Z")
        year, month, day, hour, minute, second, fraction, zulu, sign, off_hours, off_minutes = match.groups()
        micro = int((fraction or "")[:6].ljust(6, "0"))
        offset = UTC
        if not zulu:
            hours, minutes = int(off_hours), int(off_minutes)
            if hours > 23 or minutes > 59:
                raise ValueError(f"{text!r} has an offset that does not exist")
            delta = timedelta(hours=hours, minutes=minutes)
            offset = timezone(-delta if sign == "-" else delta)
        try:
            moment = datetime(
                int(year), int(month), int(day), int(hour), int(minute), int(second), micro, tzinfo=offset
            )
        except ValueError as error:
            raise ValueError(f"{text!r} is not a time: {error}") from None
        instant = cls.of(moment)
        if not _FIRST <= instant <= _LAST:
            raise ValueError(f"{text!r} lies outside the years 1 to 9999 of UTC")
        return instant

    @classmethod
    def of(cls, moment: datetime) -> "Instant":
        """The instant of an aware datetime, exact to the microsecond."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no offset")
        since = moment - _EPOCH
        return cls((since.days * 86_400 + since.seconds) * SECOND + since.microseconds)

    def moment(self) -> datetime:
        """The same instant as an aware datetime in UTC."""
        return _EPOCH + timedelta(microseconds=int(self))

    def __str__(self) -> str:
        return instant_text(self)

    def __repr__(self) -> str:
        return f"Instant({instant_text(self)})"


def instant_text(instant: int) -> str:
    """RFC 3339 in UTC with `Z`, without a fraction when it is zero (spec 10)."""
    text = (_EPOCH + timedelta(microseconds=int(instant))).strftime("%Y-%m-%dT%H:%M:%S")
    if len(text) < 20:  # strftime does not pad years below 1000
        text = text.rjust(19, "0")
    micro = int(instant) % SECOND
    return f"{text}.{micro:06d}".rstrip("0") + "Z" if micro else f"{text}Z"


class Duration(int):
    """A length of time in microseconds, written as `90s`, `15m`, `1h`, `35d`, `2w` or `4y` (365 days each)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read a duration; `ValueError` names the accepted forms."""
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} is not a duration such as 90s, 15m, 1h, 35d, 2w or 4y")
        return cls(int(match[1]) * _UNIT[match[2]])

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self % _UNIT[unit] == 0:
                return f"{self // _UNIT[unit]}{unit}"
        raise ValueError(f"{int(self)} us is no whole number of seconds")
