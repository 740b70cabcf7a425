"""What can go wrong with a server that we start ourselves."""

from metering.errors import MeteringError


class EmbeddedError(MeteringError):
    """An embedded server could not be started, adopted or stopped.

    The message says what is wrong, with which folder or port, and the way out. The end of the server's own log
    is added where it wrote one.
    """


def log_tail(text: str, lines: int = 15) -> str:
    """Return the last lines of a server's log, indented, to put below an error's first line."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n    {line}" for line in kept)
