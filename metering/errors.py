"""What the engine cannot do.

    MeteringError
    ├── ConfigurationError      a setting is wrong: the message names it and the way out
    ├── LogUnavailable          the log did not acknowledge: what was sent is unknown, send it again
    ├── LogReplaced             the log is not the one that was read so far: stop, see docs/howto/operate.md
    ├── OffsetLost              the log no longer holds the next message: stop, see docs/howto/operate.md
    ├── Fenced                  another worker owns the partition: drop the state, let go
    ├── StoreUnavailable        Postgres did not answer: pause, try again
    │   └── ArchiveUnavailable  the archive's folder or object store did not: the same
    └── ArchiveDamaged          a file of the archive is not what was written: see docs/howto/operate.md

What the world does (a bad event, a refused act) is an outcome (`schemas.outcome`), not an exception.
"""


class MeteringError(Exception):
    """Base of all errors of the engine."""


class ConfigurationError(MeteringError):
    """A setting is missing or wrong."""


class LogUnavailable(MeteringError):
    """The log did not acknowledge in time; the messages may or may not be in it."""


class LogReplaced(MeteringError):
    """The log's identity is not the one in `partition_state`: the topic was made anew, or another cluster is named."""


class OffsetLost(MeteringError):
    """The next offset to read is no longer, or not yet, in the log; `partition` says where, if it is only one."""

    def __init__(self, message: str, partition: int | None = None) -> None:
        super().__init__(message)
        self.partition = partition


class Fenced(MeteringError):
    """The partition's epoch or offset moved on under another owner."""


class StoreUnavailable(MeteringError):
    """Postgres is away or too slow; nothing was changed, or its outcome must be looked up."""


class ArchiveUnavailable(StoreUnavailable):
    """The archive's folder or object store does not take or give a file: full, away, or not allowed."""


class ArchiveDamaged(MeteringError):
    """A file of the archive is cut short or is no file of events."""
