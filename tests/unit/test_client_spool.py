"""The spool: whole lines or none, bounded, one owner at a time, taken over from the dead."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.client.spool import REFUSED, Spool, SpoolFull
from schemas.instants import Instant

NOW = Instant.parse("2026-01-05T10:00:00Z")
EVENTS = [b'{"id":"e%d"}' % number for number in range(5)]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Spool]:
    """Makes spools in one folder, each as another process would."""

    def make(bytes_max: int = 1 << 20, later: int = 0) -> Spool:
        spool = Spool(tmp_path / "spool", bytes_max)
        spool.open(Instant(NOW + later))
        return spool

    return make


def test_events_are_read_as_they_were_written(opened: Callable[..., Spool]) -> None:
    spool = opened()
    segment = spool.write(EVENTS[:2])
    spool.append(segment, EVENTS[2:])
    assert spool.read(segment) == EVENTS
    assert (segment.count, segment.size) == (5, segment.path.stat().st_size)
    assert segment.path.stat().st_mode & 0o077 == 0


def test_segments_of_one_that_is_gone_are_taken_over_in_order(opened: Callable[..., Spool]) -> None:
    first = opened()
    for event in EVENTS:
        first.write([event])
    assert opened(later=1).adopt() == []
    first.close()
    second, third = opened(later=2), opened(later=3)
    taken = second.adopt()
    assert [second.read(segment) for segment in taken] == [[event] for event in EVENTS]
    assert sum(segment.count for segment in taken) == 5
    assert third.adopt() == []
    for segment in taken:
        second.remove(segment)
    second.close()
    assert opened(later=4).adopt() == []


def test_what_is_written_later_sorts_behind_what_was_taken_over(opened: Callable[..., Spool]) -> None:
    first = opened()
    first.write(EVENTS[:1])
    first.close()
    second = opened(later=10)
    (taken,) = second.adopt()
    assert second.write(EVENTS[1:]).path.name > taken.path.name


def test_spool_that_is_full_keeps_nothing_of_what_it_refuses(opened: Callable[..., Spool]) -> None:
    spool = opened(bytes_max=3 * 4_096)
    segment = spool.write(EVENTS)
    with pytest.raises(SpoolFull):
        spool.append(segment, [b'"' + b"x" * 13_000 + b'"'])
    with pytest.raises(SpoolFull):
        spool.write([b'"' + b"x" * 13_000 + b'"'])
    assert spool.read(segment) == EVENTS
    spool.remove(segment)
    assert spool.write([b'"' + b"x" * 10_000 + b'"']).count == 1


def test_disk_that_takes_half_a_line_leaves_none_of_it(
    opened: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    segment = spool.write(EVENTS[:1])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:-3]))
    with pytest.raises(OSError):
        spool.append(segment, EVENTS[1:])
    monkeypatch.undo()
    assert segment.path.read_bytes() == EVENTS[0] + b"\n"
    spool.append(segment, EVENTS[1:])
    assert spool.read(segment) == EVENTS


def test_line_that_a_crash_cut_off_is_not_read(opened: Callable[..., Spool]) -> None:
    first = opened()
    segment = first.write(EVENTS)
    segment.path.write_bytes(segment.path.read_bytes() + b'{"id":"e')
    first.close()
    second = opened(later=1)
    (taken,) = second.adopt()
    assert second.read(taken) == EVENTS
    second.append(taken, [b'{"id":"e9"}'])
    assert second.read(taken) == [*EVENTS, b'{"id":"e9"}']


def test_damaged_line_is_put_aside_and_costs_the_others_nothing(opened: Callable[..., Spool], tmp_path: Path) -> None:
    spool = opened()
    segment = spool.write(EVENTS)
    damaged = segment.path.read_bytes().replace(b'"e2"', b"\xff\xff\xff\xff").replace(b'"e3"', b'"\xff3"')
    segment.path.write_bytes(damaged)
    assert spool.read(segment) == [EVENTS[number] for number in (0, 1, 4)]
    assert (tmp_path / "spool" / REFUSED).read_bytes() == b'{"id":\xff\xff\xff\xff}\n{"id":"\xff3"}\n'


def test_lock_of_a_living_process_is_respected_and_of_a_forgotten_file_not(
    opened: Callable[..., Spool], tmp_path: Path
) -> None:
    alive = opened()
    alive.write(EVENTS)
    (tmp_path / "spool" / "00000000000000000007.abcd.jsonl").write_bytes(b'{"id":"old"}\n')
    other = opened(later=1)
    (taken,) = other.adopt()
    assert other.read(taken) == [b'{"id":"old"}']
    assert [path.name for path in (tmp_path / "spool").glob("abcd*")] == []


def test_folder_that_cannot_be_used_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Spool(tmp_path / "file" / "spool", 1).open(NOW)
