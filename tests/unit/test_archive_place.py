"""Where files lie, whole or not at all, whatever the disk does; the index of identities; which events counted."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metering.archive.accepted import Arrived, accepted
from metering.archive.identities import find_rows, index_path, make_index
from metering.archive.place import Folder, ObjectStore, open_place
from metering.errors import ArchiveUnavailable, ConfigurationError
from schemas.instants import DAY


def test_file_is_put_whole_and_replaced(tmp_path: Path) -> None:
    place = Folder(tmp_path / "archive")
    place.write("a/b/c", b"one")
    place.write("a/b/c", b"two")
    with place.open("a/b/c") as file:
        assert file.read() == b"two"
    assert [path.name for path in (tmp_path / "archive/a/b").iterdir()] == ["c"]
    place.remove("a/b/c")
    place.remove("a/b/c")
    with pytest.raises(FileNotFoundError):
        place.open("a/b/c")


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = Folder(tmp_path)
    place.write("a/b", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArchiveUnavailable, match="No space left"):
            place.write("a/b", b"new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a/b").read_bytes() == b"old"


def test_what_a_killed_writer_left_aside_goes_with_the_next_write(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.b.1234").write_bytes(b"half")
    place.write("a/b", b"whole")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArchiveUnavailable, match="cannot be written"):
        Folder(tmp_path / "file").write("a", b"")


@pytest.mark.parametrize(
    ("address", "kind"),
    [("/var/archive", Folder), ("file:///var/archive", Folder), ("s3://b/p?region=eu-west-1", ObjectStore)],
    ids=["folder", "file-url", "s3"],
)
def test_address_opens_its_place(address: str, kind: type) -> None:
    assert isinstance(open_place(address), kind)


def test_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="METERING_ARCHIVE"):
        open_place("ftp://host/folder")


@pytest.mark.parametrize("count", [1, 2, 63, 1_000, 100_000], ids=str)
def test_every_identity_is_found_in_its_row_and_no_other(count: int) -> None:
    draw = np.random.default_rng(count)
    identities = draw.integers(0, 256, size=(count, 16), dtype=np.uint8)
    index = make_index(identities.tobytes())
    for row in draw.integers(0, count, size=50).tolist():
        assert row in find_rows(pa.BufferReader(index), identities[row].tobytes())
    other = draw.integers(0, 256, size=16, dtype=np.uint8)
    assert find_rows(pa.BufferReader(index), other.tobytes()) == []


def test_identity_that_came_often_is_found_in_all_its_rows() -> None:
    identities = np.zeros((20_000, 16), dtype=np.uint8)
    identities[::2] = 255
    index = make_index(identities.tobytes())
    assert find_rows(pa.BufferReader(index), bytes(16)) == list(range(1, 20_000, 2))


def test_index_has_a_name_that_readers_of_folders_skip() -> None:
    assert index_path("date=2026-01-01/bucket=0001/x.parquet") == "date=2026-01-01/bucket=0001/_x.identities"


def arrived(*events: tuple[int, int, int]) -> Arrived:
    """Events as (identity, position, day of receipt); an identity is remembered for two days."""
    identity, position, day = (np.array(column, dtype=np.int64) for column in zip(*events, strict=True))
    words = np.column_stack([identity, identity * 0 + 7]).astype(np.uint64)
    return Arrived(words, position, day * DAY, (day + 2) * DAY)


def test_first_of_an_identity_counts_in_whatever_order_files_come() -> None:
    events = arrived((1, 50, 0), (2, 10, 0), (1, 20, 0), (3, 30, 0), (1, 40, 1))
    assert accepted(events).tolist() == [10, 20, 30]


def test_identity_counts_again_once_it_was_forgotten() -> None:
    assert accepted(arrived((1, 10, 0), (1, 20, 1), (1, 30, 3), (1, 40, 4), (1, 50, 9))).tolist() == [10, 30, 50]


def test_nothing_that_arrived_is_nothing_that_counted() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert accepted(Arrived(np.zeros((0, 2), dtype=np.uint64), nothing, nothing, nothing)).tolist() == []
