"""`metering apply`: send a catalog to a running engine."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from metering.cli.client import Client
from metering.cli.loop import run
from metering.cli.say import say
from metering.errors import ConfigurationError

DEFAULT_URL = "http://127.0.0.1:8080"
CONTENT_TYPES = {".json": "application/json"}


def apply(
    file: Annotated[
        Path, Parameter(help="the catalog, YAML or JSON; - reads YAML from stdin", allow_leading_hyphen=True)
    ],
    /,
    *,
    url: Annotated[str, Parameter(help="where the engine is", env_var="METERING_URL")] = DEFAULT_URL,
    key: Annotated[str | None, Parameter(help="an API key with the scope write", env_var="METERING_KEY")] = None,
    dry_run: Annotated[bool, Parameter(help="show what would change, change nothing", negative="")] = False,
) -> None:
    """Send a catalog (meters and plans) to a running engine; what is the same already stays as it is."""
    if key is None:
        raise ConfigurationError("name an API key with the scope write, with --key or in METERING_KEY")
    answer = run(_send(read_catalog(file), CONTENT_TYPES.get(file.suffix, "application/yaml"), url, key, dry_run))
    for line in difference_lines(answer):
        say(line)
    if dry_run:
        say("nothing was changed (--dry-run)")


def read_catalog(file: Path) -> bytes:
    """The bytes of the file, or of stdin; `ConfigurationError` if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


async def _send(content: bytes, content_type: str, url: str, key: str, dry_run: bool) -> Any:
    async with Client(url, key) as client:
        return await client.call("POST", "/v1/catalog" + ("?dry_run=1" if dry_run else ""), content, content_type)


def difference_lines(answer: Any) -> list[str]:
    """The engine's answer, `{"meters": {"added": […], …}, "plans": {"added": {key: version}, …}}`, as lines."""
    lines = []
    for kind in ("meters", "plans"):
        for change in ("added", "changed", "unchanged"):
            keys = answer[kind][change]
            names = [f"{key} (version {keys[key]})" for key in keys] if isinstance(keys, dict) else list(keys)
            if names:
                lines.append(f"{kind} {change}: {', '.join(names)}")
    return lines or ["the catalog is empty"]
