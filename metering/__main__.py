"""The command `metering`. Each command lies in `metering/cli/` and is imported only when it is called."""

import errno
import os
import sys
from collections.abc import Sequence

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from metering import __version__
from metering.errors import ConfigurationError, MeteringError

WRONG_USE = 2
FAILED = 1
INTERRUPTED = 130

app = App(
    name="metering",
    help="Usage metering and rating: events in, exact balances and final invoices out.",
    help_format="plaintext",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

# name -> (where it lies, what it does, examples); imported when called, so that each starts as fast as it can
COMMANDS = {
    "up": (
        "metering.cli.up:up",
        "Run the whole engine in this process until Ctrl-C.",
        "metering up\nmetering up --port 9000 --data-dir ./data\nmetering up --clock 2026-01-01T00:00:00Z",
    ),
    "demo": (
        "metering.cli.demo:demo",
        "Show the whole engine at work, on throw-away servers: events in, balances, one final invoice.",
        "metering demo\nmetering demo --seconds 20\nmetering demo --json | python -m json.tool",
    ),
    "apply": (
        "metering.cli.apply:apply",
        "Send a catalog (meters and plans, YAML or JSON) to a running engine.",
        "metering apply catalog.yaml --dry-run\nmetering apply catalog.yaml --url http://127.0.0.1:8080 --key mk_…",
    ),
    "import": (
        "metering.cli.importing:import_events",
        "Send a CSV or JSONL file to a running engine, as events.",
        "metering import usage.csv --subject acme --map type==call --map time=At\nmetering import old.jsonl --dry-run",
    ),
    "simulate": (
        "metering.cli.simulate:simulate",
        "Compute scenario files without any server: invoices, balances, and whether they are as expected.",
        "metering simulate scenario.yaml --explain\nmetering simulate tests/golden --check",
    ),
    "archiver": (
        "metering.cli.archiver:archiver",
        "Write what the workers commit to the archive of events until Ctrl-C (`metering up` does so too).",
        "metering archiver --archive s3://bucket/events",
    ),
    "rebuild": (
        "metering.cli.rebuild:rebuild",
        "Compute usage and totals again from the archive of events: compare them, or replace what is kept.",
        "metering rebuild --check\nmetering rebuild --customer acme --from 2026-01-01T00:00:00Z",
    ),
    "migrate": (
        "metering.cli.migrate:migrate",
        "Bring a PostgreSQL database to the schema of this version.",
        "metering migrate --postgres postgres://metering@db:5432/metering",
    ),
}

for name, (place, meaning, examples) in COMMANDS.items():
    shown = "Examples:\n" + "".join(f"    {line}\n" for line in examples.splitlines()) if examples else None
    app.command(place, name=name, help=meaning, help_epilogue=shown)


def run(arguments: Sequence[str]) -> int:
    """Run one command; answer its exit status: 0 done, 1 failed, 2 wrong use or a wrong setting, 130 interrupted."""
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(["metering", *arguments[:1]]) if arguments and arguments[0] in list(app) else "metering"
        print(f"metering: {error}\nTry `{command} --help`.", file=sys.stderr)  # noqa: T201
        return WRONG_USE
    except ConfigurationError as error:
        print(f"metering: {error}", file=sys.stderr)  # noqa: T201
        return WRONG_USE
    except MeteringError as error:
        print(f"metering: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `metering simulate … | head`; nothing more can be said there.
        _mute()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _mute()
        print(f"metering: {error}; make room where the output or the data folder lies", file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _mute() -> None:
    """Let what stdout still holds go nowhere: it cannot be written, and Python would try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_closed() -> None:
    """Open what was closed of stdin, stdout and stderr (`metering up >&-`): else sockets would take their numbers."""
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest number that is free: this one.
            setattr(sys, stream, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def main() -> None:
    """The console script."""
    _fill_closed()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
