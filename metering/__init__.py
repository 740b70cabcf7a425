"""The effects around the calculations: Kafka, Postgres, HTTP, clocks and the command line."""

__version__ = "0.1.0"
