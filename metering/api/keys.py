"""API keys: 32 random bytes shown once; only their SHA-256 is kept, so a copy of the database opens nothing."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg

from metering.clock import Clock
from metering.errors import StoreUnavailable
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from schemas.http import KeyAnswer, Scope
from schemas.instants import Instant

PREFIX: Final = "mk_"
CACHE_SECONDS: Final = 5.0
"""How long a revoked key may still open something: the price of not asking Postgres on every request."""
AWAY_SECONDS: Final = 86_400.0
"""How long a key that was found is still taken while Postgres is away: the gateway goes on as long as the log does."""
CACHE_KEYS_MAX: Final = 10_000
TOKEN_LENGTH_MAX: Final = 512


class Key(NamedTuple):
    """A key that is known and not revoked."""

    id: str
    scopes: frozenset[str]


class Keys:
    """Finds keys by their token; what was found is remembered for a few seconds."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: dict[bytes, tuple[float, float, Key]] = {}  # digest -> trusted until, found at, the key

    async def find(self, token: str) -> Key | None:
        """The key of a token, None if there is none. Unknown tokens are not remembered: they may be made any moment.

        Errors: `StoreUnavailable` when Postgres is away and the key was not found here within `AWAY_SECONDS`.
        """
        if not token or len(token) > TOKEN_LENGTH_MAX:
            return None
        digest = digest_of(token)
        now = time.monotonic()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[0] > now:
            return remembered[2]
        try:
            async with connection(self._pool) as lent:
                row = await lent.fetchrow(queries().find_key, digest)
        except StoreUnavailable:
            if remembered is None or remembered[1] + AWAY_SECONDS < now:
                raise
            _, found, key = remembered
            self._known[digest] = (now + CACHE_SECONDS, found, key)  # Not every request waits for who is away.
            return key
        if row is None or not hmac.compare_digest(row["hash"], digest):
            self._known.pop(digest, None)
            return None
        if len(self._known) >= CACHE_KEYS_MAX:
            self._known.clear()
        key = Key(row["id"], frozenset(row["scopes"]))
        self._known[digest] = (now + CACHE_SECONDS, now, key)
        return key

    async def make(self, scopes: Sequence[Scope], note: str = "", token: str | None = None) -> str:
        """A new key; answers its token, which nobody can read again. A given token that exists stays as it is."""
        text = token or PREFIX + secrets.token_urlsafe(32)
        await transaction(self._pool, lambda lent: self._insert(lent, text, scopes, note))
        return text

    async def list_after(self, name: str, limit: int) -> list[KeyAnswer]:
        """At most `limit` keys whose ids come after `name`, revoked ones too."""
        async with connection(self._pool) as lent:
            return [_answer(row) for row in await lent.fetch(queries().list_keys, name, limit)]

    async def revoke(self, name: str) -> KeyAnswer | None:
        """Make a key open nothing any more; None if there is none with this id."""

        async def work(lent: asyncpg.Connection) -> asyncpg.Record | None:
            return await lent.fetchrow(queries().revoke_key, name, self._clock.now().moment())

        row = await transaction(self._pool, work)
        self.forget()
        return None if row is None else _answer(row)

    async def bootstrap(self, token: str | None) -> str | None:
        """The first admin key: `token` if given (made if it is not there), else a new one if there is no admin key yet.

        Answers the token that was made new and must be shown, None if there is nothing to show.
        """
        if token is not None:
            await self.make([Scope.ADMIN], "bootstrap", token)
            return None
        text = PREFIX + secrets.token_urlsafe(32)

        async def first(lent: asyncpg.Connection) -> str | None:
            await lent.execute(queries().lock_keys)
            if await lent.fetchval(queries().any_admin_key):
                return None
            await self._insert(lent, text, [Scope.ADMIN], "made at the first start")
            return text

        return await transaction(self._pool, first)

    async def _insert(self, lent: asyncpg.Connection, token: str, scopes: Sequence[Scope], note: str) -> None:
        await lent.execute(
            queries().insert_key,
            f"key_{secrets.token_hex(8)}",
            digest_of(token),
            [str(scope) for scope in scopes],
            note,
            self._clock.now().moment(),
        )

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._known.clear()


def _answer(row: asyncpg.Record) -> KeyAnswer:
    revoked = row["revoked_at"]
    return KeyAnswer(
        id=row["id"],
        scopes=tuple(row["scopes"]),
        note=row["note"],
        created=Instant.of(row["created_at"]),
        revoked=None if revoked is None else Instant.of(revoked),
    )


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
