"""The pool of connections to Postgres, and the one place that commits.

Every wait has a limit: for a connection (`ACQUIRE_SECONDS`), for a lock, for a statement, and for a transaction that
its client has forgotten. The limits are the server's, so they also hold when we are cancelled or hang.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from metering.errors import StoreUnavailable
from schemas.codec import to_json

T = TypeVar("T")

ACQUIRE_SECONDS: Final = 5
CONNECT_SECONDS: Final = 5
LOCK_SECONDS: Final = 10
FORGOTTEN_SECONDS: Final = 30
ATTEMPTS: Final = 10

RETRIED: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,
)
"""A transaction that ends so was rolled back whole, and may well succeed when it is run again."""

LOST: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""What connecting, or a connection, ends with when the server is away; time-outs of the client are `OSError`s."""

SLOW: Final = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
"""What the server says at the limit of a statement or of the wait for a lock: it rolled back."""

# The binary form of jsonb is this version byte and the text.
JSONB_VERSION: Final = b"\x01"


class CommitUnknown(StoreUnavailable):
    """The connection was lost during COMMIT: look up whether the transaction is in before doing it again."""


async def create_pool(
    dsn: str, *, size: int = 10, statement_seconds: int = 30, application: str = "metering"
) -> asyncpg.Pool:
    """Connect to Postgres.

    size: most connections at a time; one is opened at once, the others when needed. statement_seconds: limit of
    one statement. application: the name that `pg_stat_activity` shows.

    In the connections: time zone UTC; `numeric` is `decimal.Decimal`; `jsonb` and `json` are trees, in which whole
    numbers are `int` and other numbers `Decimal`; structs of `schemas` may be passed for them.

    Errors: `StoreUnavailable` when Postgres does not answer; asyncpg's own for a wrong password or database.
    """
    milliseconds = {
        "statement_timeout": statement_seconds * 1000,
        "lock_timeout": LOCK_SECONDS * 1000,
        "idle_in_transaction_session_timeout": FORGOTTEN_SECONDS * 1000,
    }
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            # The server's limit comes first; this one is for a server that no longer answers at all.
            command_timeout=statement_seconds + 5,
            init=_prepare,
            server_settings={
                "application_name": application,
                "timezone": "UTC",
                **{name: str(value) for name, value in milliseconds.items()},
            },
        )
    except LOST as error:
        raise StoreUnavailable(f"Postgres does not answer: {_said(error)}") from error


@asynccontextmanager
async def connection(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection, for reading: each statement is a transaction of its own.

    Errors: `StoreUnavailable` when none is free in time, or Postgres goes away or is too slow in the meantime.
    """
    try:
        lent = await pool.acquire(timeout=ACQUIRE_SECONDS)
    except LOST as error:
        raise StoreUnavailable(f"no connection to Postgres within {ACQUIRE_SECONDS} s: {_said(error)}") from error
    try:
        yield lent
    except SLOW as error:
        raise StoreUnavailable(f"Postgres was too slow: {_said(error)}") from error
    except (asyncpg.InternalClientError, asyncpg.PostgresConnectionError) as error:
        # A server that ends in the middle of a statement leaves the client's protocol astray, yet the connection open
        # for a moment; what is of class 08 says itself that the connection is no more.
        if not _is_lost(lent):
            lent.terminate()
        raise StoreUnavailable(f"the connection to Postgres was lost: {_said(error)}") from error
    except (*LOST, asyncpg.InterfaceError) as error:
        if _is_lost(lent):
            raise StoreUnavailable(f"the connection to Postgres was lost: {_said(error)}") from error
        raise
    finally:
        await pool.release(lent)


async def transaction(pool: asyncpg.Pool, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Run `work` in one transaction and commit it; return what it returned.

    `work` is run again from its beginning, at most `ATTEMPTS` times in all, when Postgres ends it for a deadlock, a
    serialization failure or a changed table, so it must have no effects outside the transaction. The commit is not
    broken off by a cancellation: it is waited for, then the cancellation goes on.

    Errors: whatever `work` raises, rolled back; `StoreUnavailable` when Postgres is away or too slow and nothing was
    changed; `CommitUnknown` when it went away during the commit.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with connection(pool) as lent:
                return await _once(lent, work)
        except RETRIED:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _once(lent: asyncpg.Connection, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    begun = lent.transaction()
    await begun.start()
    try:
        result = await work(lent)
    except BaseException:
        if not _is_lost(lent):
            await begun.rollback()
        raise
    if _is_lost(lent):
        raise StoreUnavailable("the connection to Postgres was lost before the commit; nothing was changed")
    await _commit(lent, begun)
    return result


async def _commit(lent: asyncpg.Connection, begun: Any) -> None:
    commit = asyncio.ensure_future(begun.commit())
    try:
        await asyncio.shield(commit)
    except asyncio.CancelledError:
        await asyncio.wait([commit])
        commit.exception()
        raise
    except Exception as error:
        # An error that the server reports on a living connection means: rolled back. Anything else is unknown.
        if _is_lost(lent) or isinstance(error, LOST):
            raise CommitUnknown(f"the connection to Postgres was lost during a commit: {_said(error)}") from error
        raise


async def _prepare(lent: asyncpg.Connection) -> None:
    """Set the codecs of a new connection."""
    decode = msgspec.json.Decoder(float_hook=Decimal).decode
    await lent.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda tree: JSONB_VERSION + to_json(tree),
        decoder=lambda data: decode(memoryview(data)[len(JSONB_VERSION) :]),
    )
    await lent.set_type_codec("json", schema="pg_catalog", format="binary", encoder=to_json, decoder=decode)


def _is_lost(lent: asyncpg.Connection) -> bool:
    """Tell whether the connection is closed; the pool takes a lost one back by itself, and then it cannot be asked."""
    try:
        return bool(lent.is_closed())
    except asyncpg.InterfaceError:
        return True


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
