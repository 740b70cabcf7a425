"""The shapes that the engine speaks: structs, JSON Schemas and SQL. Imports nothing of `rating` or `metering`."""
