"""Servers of our own: a Postgres and a Kafka-protocol broker from wheels, for trying out, small companies and tests."""

from metering.embedded.broker import EmbeddedBroker
from metering.embedded.errors import EmbeddedError
from metering.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedBroker", "EmbeddedError", "EmbeddedPostgres"]
