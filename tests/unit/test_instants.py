"""Instants and durations: read exactly, cut and never rounded, written plainly (spec 2.1, 10)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.instants import DAY, HOUR, Duration, Instant


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59Z"),
        ("2026-01-31t23:59:59.9999999z", "2026-01-31T23:59:59.999999Z"),
        ("2026-02-01T00:30:00.5+05:45", "2026-01-31T18:45:00.5Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0999-12-31T19:00:00-05:00", "1000-01-01T00:00:00Z"),
        ("1969-12-31T23:59:59.000001Z", "1969-12-31T23:59:59.000001Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
    ids=["plain", "finer-digits", "offset", "first", "year-below-1000", "before-1970", "last"],
)
def test_time_is_read_and_written_in_utc(text: str, shown: str) -> None:
    assert str(Instant.parse(text)) == shown
    assert Instant.parse(shown) == Instant.parse(text)
    assert Instant.of(Instant.parse(text).moment()) == Instant.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31 23:59:59Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-01-31T23:59Z",
        "2026-01-31T23:59:59+24:00",
        "2026-01-31T23:59:59.Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "٢٠٢٦-01-31T23:59:59Z",
        "2026-01-31T23:59:59Z\n",
        "2026-01-31T23:59:59." + "9" * 90 + "Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|offset|years"):
        Instant.parse(text)


def test_moment_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        Instant.of(datetime(2026, 1, 1))  # noqa: DTZ001


def test_moment_of_another_zone_is_the_same_instant() -> None:
    zone = timezone(timedelta(hours=-3, minutes=-30))
    assert Instant.of(datetime(2026, 1, 1, tzinfo=zone)) == Instant.of(datetime(2026, 1, 1, 3, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("1h", HOUR, "1h"),
        ("35d", 35 * DAY, "35d"),
        ("4y", 1460 * DAY, "1460d"),
        ("90s", 90_000_000, "90s"),
        ("2w", 14 * DAY, "14d"),
    ],
)
def test_duration_is_read_and_written(text: str, length: int, shown: str) -> None:
    assert Duration.parse(text) == length
    assert str(Duration.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "1", "h", "1.5h", "-1h", "1 month"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.parse(text)
