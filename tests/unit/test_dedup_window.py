"""The window against a plain dictionary: the first to arrive counts, whatever the batches."""

import random

import numpy as np
import pytest

from metering.dedup.window import Window, day_of, place_of, position_of
from schemas.instants import DAY

LATER = 36 * DAY


def _batch(events: list[tuple[tuple[int, int], int, int, bool]]) -> tuple[np.ndarray, ...]:
    """Columns from (identity, content, position, on time)."""
    return (
        np.array([identity for identity, _, _, _ in events], np.uint64).reshape(-1, 2),
        np.array([content for _, content, _, _ in events], np.uint64),
        np.array([position for _, _, position, _ in events], np.int64),
        np.array([on_time for _, _, _, on_time in events], np.bool_),
    )


def _commit(window: Window, columns: tuple[np.ndarray, ...], takes: np.ndarray) -> None:
    hashes, content, positions, _ = columns
    entries = np.column_stack([hashes, content, positions.astype(np.uint64)])[takes]
    window.add(entries, LATER)


@pytest.mark.parametrize("seed", range(20))
def test_random_batches_give_what_a_dictionary_gives(seed: int) -> None:
    draw = random.Random(seed)
    window, known = Window(), dict[tuple[int, int], tuple[int, int]]()
    position = 0
    for _ in range(12):
        events = []
        for _ in range(draw.randrange(1, 60)):
            identity = (draw.randrange(8), draw.randrange(6))  # few high words: hashes that share 64 bits are met
            events.append((identity, draw.randrange(2), position, draw.random() < 0.8))
            position += 1
        columns = _batch(events)
        sorted_out = window.sort_out(*columns)
        for row, (identity, content, place, on_time) in enumerate(events):
            if identity in known:
                first, first_content = known[identity]
                assert not sorted_out.takes[row]
                assert sorted_out.first[row] == first
                assert sorted_out.same_bytes[row] == (first_content == content)
            else:
                assert sorted_out.takes[row] == on_time
                assert sorted_out.first[row] == -1
                if on_time:
                    known[identity] = (place, content)
        _commit(window, columns, sorted_out.takes)
        assert len(window) == len(known)


def test_the_same_batch_again_takes_nothing() -> None:
    window = Window()
    columns = _batch([((n, n), n, n, True) for n in range(1000)])
    _commit(window, columns, window.sort_out(*columns).takes)
    again = window.sort_out(*columns)
    assert not again.takes.any()
    assert again.same_bytes.all()


def test_a_day_that_is_over_is_forgotten_and_a_later_one_kept() -> None:
    window = Window()
    window.add(np.array([[1, 1, 0, 0]], np.uint64), 10 * DAY)
    window.add(np.array([[2, 2, 0, 1]], np.uint64), 10 * DAY + 1)
    window.forget(10 * DAY)
    columns = _batch([((1, 1), 0, 5, True), ((2, 2), 0, 6, True)])
    assert window.sort_out(*columns).takes.tolist() == [True, False]
    assert len(window) == 1


def test_an_expiry_inside_a_day_lasts_to_the_end_of_the_day() -> None:
    assert day_of(3 * DAY) == 3
    assert day_of(3 * DAY + 1) == 4


def test_a_position_gives_its_offset_and_index_back() -> None:
    assert place_of(position_of(2**40, 9_999)) == (2**40, 9_999)
