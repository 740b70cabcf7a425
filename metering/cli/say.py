"""What commands say to a person: on stdout, in one way."""

import sys

from rich.console import Console

# Addresses and numbers stay as they are: no colour by guess, no emoji codes, no markup in texts that others wrote.
CONSOLE = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line on stdout, at once: whoever waits for it through a pipe sees it now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
