"""`metering import`: rows of CSV and JSONL files, as events, through the gateway.

Safe to break off and to run again: an event's id is its file's name and its row's number unless it is mapped, so what
has arrived already is dropped as a duplicate.
"""

import csv
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from metering.cli.apply import DEFAULT_URL
from metering.cli.loop import run
from metering.cli.say import say
from metering.clock import SystemClock
from metering.errors import ConfigurationError
from metering.ingest.rows import RowInvalid, RowMapper, Source, Times, parse_mapping
from metering.ingest.sender import Report, Sender
from metering.ingest.validate import EVENT_BYTES_MAX
from rating.events import why_invalid
from schemas.instants import Duration

BATCH_EVENTS: Final = 1_000
BATCH_BYTES: Final = 4 << 20
SHOWN: Final = 3
FAULTS_SHOWN: Final = 10
LINES: Final = frozenset({".jsonl", ".ndjson"})
SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}


def import_events(
    *files: Annotated[Path, Parameter(help=".csv, .tsv, .jsonl or .ndjson")],
    mapping: Annotated[
        tuple[str, ...],
        Parameter(name="--map", help="field=column (JSONL: dotted path) or field==text; repeat it", negative=""),
    ] = (),
    subject: Annotated[str | None, Parameter(help="the customer of every row: short for --map subject==...")] = None,
    time_format: Annotated[
        str | None, Parameter(help="of the time: unix, unix_ms or as strptime has it; default: RFC 3339 or ISO")
    ] = None,
    zone: Annotated[str, Parameter(help="time zone of times without an offset")] = "UTC",
    late_window: Annotated[
        str | None, Parameter(help="take events as old as this, as 4y; needs a key with ingest and write, or admin")
    ] = None,
    url: Annotated[str, Parameter(help="where the engine is", env_var="METERING_URL")] = DEFAULT_URL,
    key: Annotated[str | None, Parameter(help="an API key with the scope ingest", env_var="METERING_KEY")] = None,
    dry_run: Annotated[bool, Parameter(help="show the first events and count, send nothing", negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", help="print the summary as JSON", negative="")] = False,
) -> int:
    """Send the rows of files to a running engine, as events; running it again changes nothing."""
    if not files:
        raise ConfigurationError("name at least one file, as in `metering import usage.csv --map subject=Customer`")
    pairs = [*mapping, *([f"subject=={subject}"] if subject is not None else [])]
    import_ = Import(files, parse_mapping(pairs), Times(zone, time_format))
    if late_window is not None:
        try:
            Duration.parse(late_window)
        except ValueError as error:
            raise ConfigurationError(f"--late-window: {error}") from error
    if dry_run:
        import_.show()
    elif key is None:
        raise ConfigurationError("name an API key with the scope ingest, with --key or in METERING_KEY")
    else:
        try:
            run(import_.send(url, key, late_window))
        except KeyboardInterrupt:
            import_.tell(json_, "broken off: run the same again, what has arrived is dropped as a duplicate")
            raise
    import_.tell(json_, "nothing was sent (--dry-run)" if dry_run else "")
    return 1 if import_.bad_rows or import_.report.refused else 0


class Import:
    """One run: the files, how their rows are mapped, and what became of them."""

    def __init__(self, files: Sequence[Path], mapping: dict[str, Source], times: Times) -> None:
        """`ConfigurationError` for a file that cannot be read, or a mapping that misses what an event needs."""
        self.rows = 0
        self.bad_rows = 0
        self.faults: list[str] = []
        self.report = Report()
        self._files = files
        self._mapping = mapping
        self._times = times
        self._started = time.monotonic()
        names = Counter(file.name for file in files)
        for file in files:
            if not file.is_file():
                raise ConfigurationError(f"{file} is no file")
            if file.suffix.lower() not in LINES | SEPARATORS.keys():
                raise ConfigurationError(f"{file}: name it .csv, .tsv, .jsonl or .ndjson, so that its form is known")
            if names[file.name] > 1 and "id" not in mapping:
                raise ConfigurationError(f"two files are called {file.name}: their rows would get the same ids; map id")
            if mapping or file.suffix.lower() in SEPARATORS:
                for wanted in ("type", "subject"):
                    if wanted not in mapping:
                        raise ConfigurationError(
                            f"an event needs a {wanted}: --map {wanted}=column, or --map {wanted}==text"
                        )

    def _events(self, file: Path, moved: Any = None) -> Iterator[bytes]:
        """The events of a file; bad rows are noted. `moved(bytes)` is told how far the file is read."""
        mapper = RowMapper(self._mapping, self._times, file.name)
        lines = file.suffix.lower() in LINES
        try:
            for number, row in _lines(file, moved) if lines else _cells(file, mapper, moved):
                self.rows += 1
                if row is None:
                    self._note(f"{file.name}, row {number}: it has not as many cells as the first line has columns")
                    continue
                try:
                    event = mapper.from_json(number, row) if lines else mapper.from_cells(number, row)
                except RowInvalid as error:
                    self._note(f"{file.name}, row {number}: {error}")
                else:
                    yield event
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigurationError(f"{file} cannot be read after row {self.rows}: {error}") from error

    def _note(self, fault: str) -> None:
        self.bad_rows += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(fault)

    async def send(self, url: str, key: str, late_window: str | None) -> None:
        """Send everything, in order, with a bar where somebody watches."""
        async with AsyncExitStack() as stack:
            sender = await stack.enter_async_context(Sender(url, key, SystemClock(), late_window))
            self.report = sender.report
            bar = stack.enter_context(_bar())
            for file in self._files:
                task = bar.add_task(file.name, total=file.stat().st_size)
                batch, size = list[bytes](), 0
                for event in self._events(file, lambda place, task=task: bar.update(task, completed=place)):
                    if batch and (len(batch) == BATCH_EVENTS or size + len(event) > BATCH_BYTES):
                        await sender.send(batch)
                        batch, size = [], 0
                    batch.append(event)
                    size += len(event)
                if batch:
                    await sender.send(batch)
                bar.update(task, completed=file.stat().st_size)

    def show(self) -> None:
        """Map everything, show the first events, send nothing."""
        for file in self._files:
            for number, event in enumerate(self._events(file)):
                if number < SHOWN:
                    say(event.decode(errors="replace"))
                too_long = f"the event has {len(event):,} bytes" if len(event) > EVENT_BYTES_MAX else None
                if (fault := too_long or why_invalid(event)) is not None:
                    self._note(f"{file.name}, event {number + 1}: {fault}")

    def tell(self, as_json: bool, remark: str = "") -> None:
        """Print what became of the rows; faults and a remark go to stderr."""
        report = self.report
        for line in [*self.faults, *report.refusals, *([remark] if remark else [])]:
            print(f"metering: {line}", file=sys.stderr)  # noqa: T201
        if as_json:
            say(
                json.dumps(
                    {
                        "files": len(self._files),
                        "rows": self.rows,
                        "bad_rows": self.bad_rows,
                        "queued": report.queued,
                        "refused": dict(report.refused),
                        "retries": report.retries,
                        "position": report.position,
                        "seconds": round(time.monotonic() - self._started, 3),
                    }
                )
            )
            return
        refused = "".join(f", {count:,} {code}" for code, count in sorted(report.refused.items()))
        say(f"{self.rows:,} rows: {report.queued:,} events queued, {self.bad_rows:,} bad rows{refused}")


def _cells(file: Path, mapper: RowMapper, moved: Any) -> Iterator[tuple[int, Any]]:
    """The rows of a CSV file by column, numbered from 1; None for one of another length (cut off, or shifted)."""
    with file.open("rb") as content, io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=SEPARATORS[file.suffix.lower()], strict=True)
        columns = next(reader, [])
        mapper.check_columns(columns)
        for number, cells in enumerate((cells for cells in reader if cells), 1):
            if moved is not None and number % BATCH_EVENTS == 0:
                moved(content.tell())
            yield number, dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else None


def _lines(file: Path, moved: Any) -> Iterator[tuple[int, Any]]:
    """The lines of a JSONL file that are not blank, numbered by their place in the file."""
    with file.open("rb") as content:
        for number, line in enumerate(content, 1):
            if moved is not None and number % BATCH_EVENTS == 0:
                moved(content.tell())
            if stripped := line.strip():
                yield number, stripped


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
