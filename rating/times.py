"""Times of events in columns: RFC 3339 text to microseconds since the epoch, thousands at once (spec 2.1)."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from rating.fixed import Indices, Mask
from schemas.instants import Instant

_PLAIN: Final = 20  # 2026-01-31T23:59:59Z
_DIGITS: Final = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_ZERO, _POINT, _DASH, _COLON = b"0.-:"
_LENGTHS_MAX: Final = 40


def instants(texts: Sequence[str]) -> tuple[Indices, Mask]:
    """Microseconds of n texts, int64[n], and which of them are times at all (the others are 0).

    Text in UTC of the usual form is read in columns, the rest (offsets, odd lengths) one by one by `Instant.parse`.
    """
    times = np.zeros(len(texts), dtype=np.int64)
    known = np.zeros(len(texts), dtype=np.bool_)
    for length in set(map(len, texts)):
        if length == _PLAIN or _PLAIN + 1 < length <= _LENGTHS_MAX:
            rows = [row for row, text in enumerate(texts) if len(text) == length]
            same = texts if len(rows) == len(texts) else [texts[row] for row in rows]
            _read_same_length(same, np.array(rows, dtype=np.int64), times, known)
    for row in np.flatnonzero(~known).tolist():
        try:
            times[row] = Instant.parse(texts[row])
        except ValueError:
            continue
        known[row] = True
    return times, known


def _read_same_length(texts: Sequence[str], rows: Indices, times: Indices, known: Mask) -> None:
    """Read the texts of one length into their rows of `times`; only those of the plain form become `known`."""
    joined = "".join(texts)
    if not joined.isascii():
        return
    letters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(len(texts), -1).T
    length = len(letters)
    finer = tuple(range(_PLAIN, length - 1))
    digits = letters[[*_DIGITS, *finer]] - _ZERO
    good = (digits <= 9).all(axis=0)
    good &= (letters[4] == _DASH) & (letters[7] == _DASH) & (letters[13] == _COLON) & (letters[16] == _COLON)
    good &= ((letters[10] | 0x20) == ord("t")) & ((letters[length - 1] | 0x20) == ord("z"))
    if finer:
        good &= letters[_PLAIN - 1] == _POINT
    number = digits.astype(np.int64)
    year = number[0] * 1000 + number[1] * 100 + number[2] * 10 + number[3]
    month, day, hour, minute, second = (number[place] * 10 + number[place + 1] for place in range(4, 14, 2))
    good &= (year >= 1) & (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59)
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    last = _MONTH_DAYS[np.where(good, month, 0)] + (leap & (month == 2))
    good &= (day >= 1) & (day <= last)
    micro = np.zeros(len(texts), dtype=np.int64)
    for place in range(6):  # finer digits are cut off, missing ones are 0
        micro = micro * 10 + (number[len(_DIGITS) + place] if place < len(finer) else 0)
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    times[rows[good]] = (seconds * 1_000_000 + micro)[good]
    known[rows[good]] = True


def _days(year: Indices, month: Indices, day: Indices) -> Indices:
    """Days since 1970-01-01 in the Gregorian calendar; years are taken to begin in March, so February ends them."""
    early = month <= 2
    year = year - early
    of_year = (153 * (month + np.where(early, 9, -3)) + 2) // 5 + day - 1
    days: Indices = 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719_468
    return days
