"""One customer with one charge, a log of one partition, its checkpoint, its archive: what tests of the archive use."""

import json
from pathlib import Path
from typing import Any

import asyncpg

from metering.archive.archiver import Archiver
from metering.archive.place import Folder
from metering.archive.store import ArchiveStore
from metering.clock import SettableClock
from metering.stream.checkpoint import Checkpoint
from metering.stream.log import Message
from metering.subscriptions.accounts import Accounts
from metering.testing.broker import MemoryLog
from schemas.instants import DAY, Instant

LATE_WINDOW = 35 * DAY
NOW = Instant.parse("2026-01-10T10:30:00Z")
METER = {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}}
PLAN = {
    "currency": "USD",
    "period": {"unit": "month"},
    "align": "calendar",
    "charges": {"api": {"kind": "usage", "meter": "calls", "price": {"model": "per_unit", "unit": "2"}}},
}


def usage_event(number: int, subject: str = "acme", **changes: Any) -> dict[str, Any]:
    """An event of `n` = 3 on the 8th or the 9th of January."""
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "app",
        "type": "call",
        "subject": subject,
        "time": f"2026-01-{8 + number % 2:02}T10:00:{number % 60:02}Z",
        "data": {"n": 3, "model": "large"},
        **changes,
    }


class ArchivedWorld:
    """The log, what commits it, and what archives it."""

    def __init__(self, pool: asyncpg.Pool, folder: Path) -> None:
        """`folder` is the archive."""
        self.pool = pool
        self.folder = folder
        self.clock = SettableClock(NOW)
        self.log = MemoryLog(self.clock, 1)
        self.place = Folder(folder)

    async def know(self) -> None:
        """A meter, a plan, the customer `acme` with a subscription."""
        moment = Instant.parse("2026-01-01T00:00:00Z").moment()
        await self.pool.execute("INSERT INTO meter VALUES ('calls', $1, $2)", METER, moment)
        await self.pool.execute("INSERT INTO plan VALUES ('pro', 1, $1, $2)", PLAN, moment)
        await self.pool.execute("INSERT INTO customer VALUES ('acme', 0, $1, $2)", {"currency": "USD"}, moment)
        subscribe = {"act": "subscribe", "id": "s1", "customer": "acme", "plan": "pro"}
        await self.pool.execute(
            "INSERT INTO act (customer, at, kind, id, body) VALUES ('acme', $1, 'subscribe', 's1', $2)",
            moment,
            subscribe,
        )

    async def send(self, *events: dict[str, Any]) -> None:
        """Append them, one a message."""
        raws = [json.dumps(one).encode() for one in events]
        await self.log.append([Message(0, b"", raw) for raw in raws])

    async def commit(self) -> None:
        """Commit what is in the log, as a worker does."""
        checkpoint = Checkpoint(0, self.log, self.pool, self.clock, Accounts(), owner="test", late_window=LATE_WINDOW)
        first, end = await checkpoint.take(), (await self.log.ends())[0]
        records = await self.log.read(0, first, end - 1)
        if records:
            await checkpoint.commit(await checkpoint.judge(checkpoint.decode(records)))

    async def archive(self) -> None:
        """Archive what is committed."""
        archiver = Archiver(self.log, ArchiveStore(self.pool), self.place, self.clock, owner="test")
        while await archiver.step(all_now=True):
            pass
