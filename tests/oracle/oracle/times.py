"""Instants, written and read: RFC 3339 texts, kept as UTC datetimes to the microsecond."""

import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"([0-9]+)([smhdwy])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def parse_instant(text: object) -> datetime | None:
    """The instant of an RFC 3339 text with an offset, finer digits cut off (2.1); None if it is none."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, digits, _, sign, off_hours, off_minutes = match.groups()
    if off_hours is not None and (int(off_hours) > 23 or int(off_minutes) > 59):
        return None
    offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second),
            int(((digits or "") + "000000")[:6]), tzinfo=UTC,
        )  # fmt: skip
        return local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        return None


def instant(text: object) -> datetime:
    """As `parse_instant`, for a text that must be right."""
    parsed = parse_instant(text)
    if parsed is None:
        raise ValueError(f"{text!r} is no RFC 3339 instant with an offset")
    return parsed


def write(at: datetime) -> str:
    """UTC, `Z`, no fraction when it is zero."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(text: object) -> timedelta:
    """`1h`, `35d`, `1h30m`."""
    parts = _DURATION.findall(str(text))
    if not parts or "".join(count + unit for count, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration like 1h or 35d")
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


def microseconds(span: timedelta) -> Fraction:
    """A span as an exact number of microseconds."""
    return Fraction(span // MICROSECOND)


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """The date on the wall at an instant."""
    return at.astimezone(zone).date()
