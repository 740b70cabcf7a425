"""Send events from an asyncio program. METERING_URL and METERING_KEY say where to; METERING_SPOOL names a folder."""

import asyncio
import os
from datetime import UTC, datetime
from decimal import Decimal

from metering.client import Fate, Metering


def look(fate: Fate) -> None:
    """Called for every event, once it is known what became of it."""
    print(fate.id, fate.outcome, fate.detail or "")


async def main() -> None:
    """Say three things, and be sure that they are there before going."""
    url, key, spool = os.environ["METERING_URL"], os.environ["METERING_KEY"], os.environ.get("METERING_SPOOL")
    async with Metering(url, key, source="python-asyncio", spool=spool, on_outcome=look) as metering:
        metering.count("llm.call", "acme", tokens=1500, model="large")
        # An act with a name and a time of its own: said twice, as after a crash of this program, it counts once.
        paid = datetime.now(UTC)
        for _ in range(2):
            metering.send("order.paid", "acme", {"amount": Decimal("19.90")}, id="order-71", time=paid)

        @metering.metered("report.made", subject="account", data=lambda report, *_: {"pages": len(report)})
        async def make_report(account: str) -> list[str]:
            return [f"page {number} for {account}" for number in range(3)]

        await make_report("globex")


if __name__ == "__main__":
    asyncio.run(main())
