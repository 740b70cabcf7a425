"""The settings: read once from the environment, checked, then passed around as one frozen value.

Every setting is a row of `SETTINGS`; `docs/reference/settings.md` has the same rows, and a test compares them.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from metering.errors import ConfigurationError
from schemas.instants import DAY, HOUR, Duration

PREFIX = "METERING_"
# Read elsewhere: the first two by the commands that talk to a running engine, the last by the tests.
OTHERS = {
    "METERING_URL": "where the running engine is, for `apply`, `import` and the like: `http://127.0.0.1:8080`",
    "METERING_KEY": "the API key of these commands",
    "METERING_REQUIRE_KAFKA": "`1` makes the tests against Apache Kafka fail, not skip, where java or mvn is missing",
}
_ADDRESSES = re.compile(r"[\w.\-]+:\d{1,5}(,[\w.\-]+:\d{1,5})*", re.ASCII)
_TOPIC = re.compile(r"[\w.\-]{1,249}", re.ASCII)
_BOOTSTRAP_KEY_LENGTH_MIN = 16


def _data_dir() -> Path:
    """Where data lies unless a setting says otherwise: the same folder whatever folder one stands in."""
    if os.geteuid() == 0:
        return Path("/var/lib/metering")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "metering"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set, with the defaults. Made by `read`, or field by field in tests."""

    kafka: str | None = None
    postgres: str | None = None
    topic: str = "usage.events"
    partitions: int = 8
    grace: Duration = Duration(HOUR)
    late_window: Duration = Duration(35 * DAY)
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 8081
    archive: str | None = None
    data_dir: Path = msgspec.field(default_factory=_data_dir)
    bootstrap_key: str | None = None
    log_format: str = "console"
    log_level: str = "info"


class Setting(NamedTuple):
    """One row: the variable, the field it fills, how its text is read, what it means."""

    name: str
    field: str
    read: Callable[[str], Any]
    meaning: str


def _matching(pattern: re.Pattern[str], example: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"wanted is {example}")
        return text

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"wanted is a whole number from {least} to {most}")
        return int(text)

    return read


def _duration(least: int) -> Callable[[str], Duration]:
    def read(text: str) -> Duration:
        duration = Duration.parse(text)
        if duration < least:
            raise ValueError(f"wanted is at least {Duration(least)}")
        return duration

    return read


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"wanted is one of {', '.join(choices)}")
        return text.lower()

    return read


def _dsn(text: str) -> str:
    if not text.startswith(("postgres://", "postgresql://")):
        # The text may hold a password: it is not repeated.
        raise ValueError("wanted is postgres://user:password@host:5432/database")
    return text


def _key(text: str) -> str:
    if len(text) < _BOOTSTRAP_KEY_LENGTH_MIN or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"wanted are at least {_BOOTSTRAP_KEY_LENGTH_MIN} printable characters without blanks")
    return text


SETTINGS = (
    Setting(
        "METERING_KAFKA",
        "kafka",
        _matching(_ADDRESSES, "host:port, or several with commas"),
        "addresses of Apache Kafka; without it the log is a table of Postgres",
    ),
    Setting("METERING_POSTGRES", "postgres", _dsn, "address of PostgreSQL; without it an embedded one is started"),
    Setting(
        "METERING_TOPIC",
        "topic",
        _matching(_TOPIC, "a name of letters, digits, dots, dashes and underscores"),
        "the topic of the events",
    ),
    Setting(
        "METERING_PARTITIONS",
        "partitions",
        _whole(1, 1024),
        "partitions of the log when it is made; fixed from then on",
    ),
    Setting("METERING_GRACE", "grace", _duration(0), "how long an invoice stays a draft after its period's end"),
    Setting(
        "METERING_LATE_WINDOW", "late_window", _duration(HOUR), "how late an event may arrive and still be counted"
    ),
    Setting("METERING_HOST", "host", _matching(re.compile(r"[\w.:\-]+"), "a host name or address"), "where to listen"),
    Setting("METERING_PORT", "port", _whole(0, 65535), "port of the API; a busy one is replaced by a free one"),
    Setting("METERING_METRICS_PORT", "metrics_port", _whole(0, 65535), "port of /healthz, /readyz and /metrics"),
    Setting(
        "METERING_ARCHIVE",
        "archive",
        str,
        "folder or URL (s3://bucket/prefix) of the event archive; without it the folder `archive` in the data folder",
    ),
    Setting("METERING_DATA_DIR", "data_dir", Path, "folder of the embedded PostgreSQL"),
    Setting(
        "METERING_BOOTSTRAP_KEY", "bootstrap_key", _key, "the first admin key; without it one is made and shown once"
    ),
    Setting("METERING_LOG_FORMAT", "log_format", _one_of("console", "json"), "how log lines look"),
    Setting("METERING_LOG_LEVEL", "log_level", _one_of("debug", "info", "warning", "error"), "from which level on"),
)


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of an environment; empty variables count as unset.

    Raises `ConfigurationError` naming every variable that is wrong or unknown, and what is wanted.
    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for setting in SETTINGS:
        text = environment.get(setting.name, "").strip()
        if not text:
            continue
        try:
            values[setting.field] = setting.read(text)
        except ValueError as error:
            shown = "" if setting.read in (_dsn, _key) else f"={text!r}"
            wrong.append(f"{setting.name}{shown}: {error}")
    known = {setting.name for setting in SETTINGS} | OTHERS.keys()
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; see docs/reference/settings.md"
            wrong.append(f"{name} is no setting{hint}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return Settings(**values)


def default_text(setting: Setting) -> str:
    """The default as text for a reader, empty if there is none."""
    if setting.field == "data_dir":
        return "/var/lib/metering (root), ~/.local/share/metering (others)"
    value = getattr(Settings(), setting.field)
    return "" if value is None else str(value)
