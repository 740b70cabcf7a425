"""Log lines: structured, to stderr, one line an event. What a person reads on stdout is not a log."""

import logging
import sys
from typing import TextIO

import structlog


def configure(level: str = "info", form: str = "console", stream: TextIO | None = None) -> None:
    """Set up logging for this process.

    `level`: debug, info, warning or error. `form`: `console` for people, `json` for machines.
    `stream`: default stderr. Lines of libraries (aiokafka, asyncio) come the same way, from warning on.
    """
    target = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
        shared.append(structlog.processors.format_exc_info)
    else:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[
        structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer,
    ])  # fmt: skip
    handler.setFormatter(formatter)
    # While Postgres is away it repeats a traceback every few seconds; the roles say the same in one line each.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
