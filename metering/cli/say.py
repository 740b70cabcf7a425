"""What commands say to a person: on stdout, in one way."""

import sys

from rich.console import Console


class _Console(Console):
    """Rich's console, but a reader that has gone is what it is anywhere else: `BrokenPipeError`, not exit status 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# Addresses and numbers stay as they are: no colour by guess, no emoji codes, no markup in texts that others wrote.
CONSOLE = _Console(highlight=False, emoji=False, markup=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line on stdout, at once: whoever waits for it through a pipe sees it now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
