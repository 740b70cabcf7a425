"""The supervisor: roles that fail, heal, and stop."""

import asyncio
from collections.abc import Callable

import pytest

from metering import supervisor
from metering.errors import StoreUnavailable
from metering.supervisor import Role, Supervisor


class Steady:
    """Works until it is asked to stop."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        await self._asked.wait()
        self.ended = True

    def stop(self) -> None:
        self._asked.set()


class Failing(Steady):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    async def run(self) -> None:
        if self._error is not None:
            raise self._error


class Deaf(Steady):
    """Does not hear that it is asked to stop."""

    def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSE_S", (0.001,))
    monkeypatch.setattr(supervisor, "STOP_S", 0.01)


async def test_stop_lets_every_role_finish() -> None:
    roles = {"a": Steady(), "b": Steady()}
    running = Supervisor({name: (lambda role=role: role) for name, role in roles.items()})  # type: ignore[misc]
    running.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await running.stop()
        await running.failed()
    assert all(role.ended for role in roles.values())


async def test_role_that_waits_for_the_world_is_made_anew() -> None:
    steady = Steady()
    made: list[Role] = [steady, Failing(ConnectionResetError()), Failing(StoreUnavailable("away"))]
    running = Supervisor({"worker": made.pop})
    running.start()
    async with asyncio.timeout(5):
        while made:
            await asyncio.sleep(0.001)
        await running.stop()
        await running.failed()
    assert steady.ended


@pytest.mark.parametrize(
    ("make", "said"),
    [(lambda: Failing(ZeroDivisionError("bug")), "bug"), (lambda: Failing(None), "nobody asked")],
    ids=["bug", "returned"],
)
async def test_role_that_fails_for_good_reaches_the_top(make: Callable[[], Role], said: str) -> None:
    running = Supervisor({"steady": Steady, "worker": make})
    running.start()
    async with asyncio.timeout(5):
        with pytest.raises((ZeroDivisionError, RuntimeError), match=said):
            await running.failed()
        await running.stop()


async def test_role_that_does_not_stop_is_cancelled() -> None:
    running = Supervisor({"deaf": Deaf})
    running.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await running.stop()
