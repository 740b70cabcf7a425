"""The client: a product says what was used, and goes on. It imports neither the engine nor its servers.

    async with Metering("https://metering.example", key, source="api", spool="/var/spool/metering") as metering:
        metering.count("llm.call", "acme", tokens=1500, model="large")

`PlainMetering` is the same without an event loop, `metering.client.kafka.Kafka` sends past the gateway,
`metering.client.web` meters the requests of aiohttp and ASGI applications.
"""

from metering.client.engine import Counters
from metering.client.metering import Metering
from metering.client.plain import PlainMetering
from metering.client.transport import Away, Fate, TooLarge, Transport

__all__ = ["Away", "Counters", "Fate", "Metering", "PlainMetering", "TooLarge", "Transport"]
