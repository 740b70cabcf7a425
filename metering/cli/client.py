"""A small client of the engine's HTTP API, for the commands."""

from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from metering.errors import ConfigurationError, MeteringError

ANSWER_SECONDS = 30


class CallFailed(MeteringError):
    """The engine did not do what was asked: `status` and `code` (as of its problem), and what it said."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """`async with Client(url, key) as client: await client.get("/v1/invoices")`. Bodies are JSON; amounts are text."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Any:
        """The answer to a GET; `CallFailed` unless it is 2xx."""
        return await self.call("GET", path)

    async def put(self, path: str, body: Any) -> Any:
        """The answer to a PUT of a JSON body."""
        return await self.call("PUT", path, msgspec.json.encode(body), "application/json")

    async def post(self, path: str, body: Any) -> Any:
        """The answer to a POST of a JSON body."""
        return await self.call("POST", path, msgspec.json.encode(body), "application/json")

    async def call(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Any:
        """Send one request. A tree for JSON, else bytes; `CallFailed` if there is no answer, or it is no 2xx."""
        assert self._session is not None, "use `async with Client(...)`"
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            async with self._session.request(method, self.url + path, data=body, headers=headers) as response:
                content = await response.read()
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(f"{self.url!r} is no address such as http://127.0.0.1:8080") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise CallFailed(
                0, "unreachable", f"{self.url} does not answer: {reason}. Is `metering up` running?"
            ) from error
        tree = msgspec.json.decode(content) if content and "json" in response.content_type else content
        if response.status < 300:
            return tree
        problem = tree if isinstance(tree, dict) else {}
        faults = problem.get("faults", [])
        # The detail is the first of the faults.
        said = problem.get("title" if faults else "detail") or problem.get("title") or response.reason
        lines = [f"{method} {path}: {response.status} {problem.get('code', '')}: {said}"]
        lines.extend("  " + _fault_text(fault) for fault in faults)
        raise CallFailed(response.status, str(problem.get("code", "")), "\n".join(lines))


def _fault_text(fault: Any) -> str:
    """A fault of a body on one line, `3:11: meters.tokens: what is wrong; the way out`, whatever parts it has."""
    if not isinstance(fault, dict):
        return str(fault)
    place = f"{fault['line']}:{fault.get('column', 1)}" if fault.get("line") else ""
    severity = "" if fault.get("severity", "error") == "error" else fault["severity"]
    text = ": ".join(str(part) for part in (place, severity, fault.get("path"), fault.get("message")) if part)
    return f"{text}; {fault['fix']}" if fault.get("fix") else text
