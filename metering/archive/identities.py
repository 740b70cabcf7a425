"""The index beside each file: where an identity lies in it, found by reading a few kilobytes however large it is.

n identities, sorted: their first 8 bytes as uint64[n], then the row of each in its file as uint32[n], little-endian.
Hashes are spread evenly, so where one lies among n sorted ones is known to within a few times the root of n. Readers of
Parquet that know bloom filters have those; no reader of them was found in pyarrow.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ENTRY: Final = 12
_SPREAD: Final = 4
"""How far an entry may lie from where it is looked for at first, in roots of n; then all is read."""


def index_path(path: str) -> str:
    """The index of a file of events. Engines that read folders skip names that begin with an underscore."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/_{name.removesuffix('.parquet')}.identities"


def make_index(identities: bytes) -> bytes:
    """The index of a file whose rows have these identities (16 bytes each, in the order of rows)."""
    words = np.frombuffer(identities, dtype="<u8")[::2]
    order = np.argsort(words, kind="stable")
    return words[order].tobytes() + order.astype("<u4").tobytes()


def find_rows(index: Any, identity: bytes) -> list[int]:
    """Rows of a file that may have this identity (their first 8 bytes do); `index` is an open file, closed after."""
    with index:
        count = index.size() // _ENTRY
        word = np.frombuffer(identity[:8], dtype="<u8")
        first, words = _around(index, count, int(word[0]))
        left = int(np.searchsorted(words, word[0], side="left"))
        right = int(np.searchsorted(words, word[0], side="right"))
        if left == right:
            return []
        rows = index.read_at((right - left) * 4, count * 8 + (first + left) * 4)
        return sorted(np.frombuffer(rows, dtype="<u4").tolist())


def _around(index: Any, count: int, word: int) -> tuple[int, npt.NDArray[np.uint64]]:
    """Sorted words in which all that equal `word` are, if there are any, and the place of the first of them."""
    spread = _SPREAD * int(count**0.5) + 64
    middle = word * count >> 64
    first, last = max(0, middle - spread), min(count, middle + spread)
    words = np.frombuffer(index.read_at((last - first) * 8, first * 8), dtype="<u8")
    if len(words) and (first == 0 or words[0] < word) and (last == count or words[-1] > word):
        return first, words
    return 0, np.frombuffer(index.read_at(count * 8, 0), dtype="<u8")
