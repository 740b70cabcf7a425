"""The meters in force, as the worker needs them: an extractor made for them."""

import asyncpg

from metering.postgres.queries import queries
from rating.extract import Extractor
from schemas.codec import convert
from schemas.meter import Aggregation, Meter


class Meters:
    """Meters by key, and the extractor that reads just what they need."""

    def __init__(self, meters: dict[str, Meter] | None = None) -> None:
        self._meters = meters or {}
        self.extractor = Extractor(self._meters)

    @classmethod
    async def load(cls, connection: asyncpg.Connection) -> "Meters":
        """The meters of the catalog."""
        rows = await connection.fetch(queries().load_meters)
        return cls({row["key"]: convert(row["definition"], Meter) for row in rows})

    def aggregation(self, meter: str) -> Aggregation:
        """How a meter aggregates."""
        return self._meters[meter].aggregation

    def dimensions(self, meter: str) -> tuple[str, ...]:
        """The names of a meter's dimensions, in the order in which a combination has their values."""
        return tuple(self._meters[meter].dimensions)

    def of_type(self, event_type: str) -> dict[str, Meter]:
        """The meters that want events of a type."""
        return {key: meter for key, meter in self._meters.items() if meter.event_type == event_type}

    def __contains__(self, meter: str) -> bool:
        return meter in self._meters

    def same_as(self, other: "Meters") -> bool:
        """Whether both are the same meters, so that what one has read holds for the other."""
        return self._meters == other._meters
