"""From a request to the log: every event of a request gets its own outcome, then the log acknowledges."""
