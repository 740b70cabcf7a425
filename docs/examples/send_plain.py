"""Send events from a program without an event loop: a script, a Django or Flask process, a worker."""

import os

from metering.client import PlainMetering

metering = PlainMetering(
    os.environ["METERING_URL"],
    os.environ["METERING_KEY"],
    source="python-plain",
    spool=os.environ.get("METERING_SPOOL"),
)


@metering.metered("image.resized", subject="account", data=lambda _, account, pixels: {"pixels": pixels})
def resize(account: str, pixels: int) -> None:
    """Work that is charged for."""


if __name__ == "__main__":
    resize("acme", 640 * 480)
    metering.count("script.run", "acme", lines=12)
    # Nothing else to do: what was said is sent when the program ends. Where it matters to know, ask:
    print("all there" if metering.flush(timeout=5) else "on disk until the service is back", metering.counters)
