"""Events on disk while the service is away: bounded, whole after any crash, sent by the next process.

A folder that any number of processes share. Each has a token, a lock file `<token>.lock` that it holds while it lives,
and its segments `<number>.<token>.jsonl`, one event a line. Whoever finds a token whose lock is free takes its segments
over: that process is gone. A line is written and synced before it counts as spooled; one that a crash cut off has no
end and never counted. `refused.jsonl` keeps what the service refused: mend it and send it by `metering import`.
"""

import contextlib
import fcntl
import itertools
import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from schemas.instants import Instant

REFUSED: Final = "refused.jsonl"
REFUSED_BYTES_MAX: Final = 64 << 20
BLOCK: Final = 4_096
"""A small file takes a block all the same."""

_LOG: Final = logging.getLogger("metering.client")
_JSON: Final = msgspec.json.Decoder(msgspec.Raw)


class SpoolFull(OSError):
    """The spool has no room for more."""


@dataclass
class Segment:
    """A file of events, in their order."""

    path: Path
    size: int
    count: int

    @property
    def room(self) -> int:
        """Bytes that the disk gives for it."""
        return -(-self.size // BLOCK) * BLOCK


class Spool:
    """One process's part of a spool folder. Its methods block: call them where nobody minds."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """bytes_max: what this process may hold there; what it takes over counts, but is never refused."""
        self._folder = folder
        self._bytes_max = bytes_max
        self._bytes = 0
        self._token = ""
        self._lock = -1
        self._numbers = itertools.count()

    def open(self, now: Instant) -> None:
        """Make the folder if there is none, and a token of one's own. `OSError` if the folder cannot be used.

        now: gives the first number, so that segments of later processes sort behind.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._numbers = itertools.count(int(now))
        while True:
            token = secrets.token_hex(8)
            lock = os.open(self._lock_path(token), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Between the two lines above another process may have taken the file for a left one and removed it.
            with contextlib.suppress(FileNotFoundError):
                if self._lock_path(token).stat().st_ino == os.fstat(lock).st_ino:
                    self._token, self._lock = token, lock
                    return
            os.close(lock)

    def adopt(self) -> list[Segment]:
        """Take over the segments of processes that are gone, the oldest first."""
        tokens = {path.stem for path in self._folder.glob("*.lock")}
        tokens |= {path.name.split(".")[1] for path in self._folder.glob("*.*.jsonl")}
        found: list[Segment] = []
        for token in tokens - {self._token}:
            lock = os.open(self._lock_path(token), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            for path in self._folder.glob(f"*.{token}.jsonl"):
                mine = path.with_name(f"{path.name.split('.')[0]}.{self._token}.jsonl")
                with contextlib.suppress(FileNotFoundError):
                    path.rename(mine)
                    content = mine.read_bytes()
                    whole = content.rfind(b"\n") + 1
                    os.truncate(mine, whole)  # What a crash cut off never counted; more may follow in its place.
                    found.append(Segment(mine, whole, content.count(b"\n")))
            self._lock_path(token).unlink(missing_ok=True)
            os.close(lock)
        found.sort(key=lambda segment: segment.path.name)
        self._bytes += sum(segment.room for segment in found)
        return found

    def write(self, events: Sequence[bytes]) -> Segment:
        """A new segment of these events. `OSError`, as `SpoolFull`, if there is no room: then none is kept."""
        segment = Segment(self._folder / f"{next(self._numbers):020}.{self._token}.jsonl", 0, 0)
        self.append(segment, events)
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return segment

    def append(self, segment: Segment, events: Sequence[bytes]) -> None:
        """More events at the end of a segment; errors as in `write`."""
        lines = b"".join([event + b"\n" for event in events])
        more = Segment(segment.path, segment.size + len(lines), 0).room - segment.room
        if self._bytes + more > self._bytes_max:
            raise SpoolFull(f"{self._folder} holds {self._bytes:,} bytes of {self._bytes_max:,}")
        file = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, lines) != len(lines):
                raise SpoolFull(f"{self._folder}: the disk is full")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, segment.size)
            raise
        finally:
            os.close(file)
        segment.size += len(lines)
        segment.count += len(events)
        self._bytes += more

    def read(self, segment: Segment) -> list[bytes]:
        """The events of a segment. What is no JSON (a damaged disk) is put aside into `refused.jsonl`, not lost."""
        lines = segment.path.read_bytes().split(b"\n")[:-1]
        events, damaged = list[bytes](), list[bytes]()
        for line in lines:
            try:
                line.decode()
                _JSON.decode(line)
                events.append(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                damaged.append(line)
        if damaged:
            _LOG.error("%s: %d damaged lines were put into %s", segment.path, len(damaged), REFUSED)
            self.refuse(damaged)
        return events

    def remove(self, segment: Segment) -> None:
        """Forget a segment whose events are acknowledged."""
        segment.path.unlink(missing_ok=True)
        self._bytes -= segment.room

    def refuse(self, events: Sequence[bytes]) -> None:
        """Keep events that the service refused, as far as there is room for them."""
        lines = b"".join([event + b"\n" for event in events])
        file = os.open(self._folder / REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size + len(lines) > REFUSED_BYTES_MAX:
                _LOG.error("%s is full: %d refused events are not kept", self._folder / REFUSED, len(events))
            else:
                os.write(file, lines)
        finally:
            os.close(file)

    def close(self) -> None:
        """Let go of the token: what is left is for the next process."""
        if self._lock >= 0 and not any(self._folder.glob(f"*.{self._token}.jsonl")):
            self._lock_path(self._token).unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Close the lock file in a forked child: the lock stays with the parent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _lock_path(self, token: str) -> Path:
        return self._folder / f"{token}.lock"
