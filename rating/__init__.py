"""The calculations of metering, rating and billing: values in, values out; no I/O, clock, logging or randomness."""
