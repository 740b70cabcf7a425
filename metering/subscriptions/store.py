"""The act transaction: whoever changes what a customer owes does it here, holding the customer's partition."""

from typing import NamedTuple, cast

import asyncpg

from metering.clock import Clock
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.rater.rederive import rederive
from metering.stream.log import Log
from metering.stream.partition import lock
from metering.subscriptions.accounts import Accounts, Written, unfolded
from metering.subscriptions.acts import customer_of, cuts, kind_of, own_id, pinned, same_request, subscription_of
from metering.usage.split import split
from rating.account import Account, admit
from rating.issues import next_issue
from rating.subscription import FOREVER, Subscription
from schemas.act import Act, Cancel, Change, Subscribe
from schemas.codec import convert, to_tree
from schemas.ids import partition_of
from schemas.instants import Instant
from schemas.outcome import Refusal


class ActRefused(Exception):
    """An act that is not admitted (spec 10), with its code; nothing was changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class ContentDiffers(Exception):
    """The id of an act was used before, with other content; nothing was changed."""


class Performed(NamedTuple):
    """An act that is stored: the account with it, and whether it was stored just now or before."""

    account: Account
    act: Act
    new: bool


class Acts:
    """Performs acts, one transaction each."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, log: Log, accounts: Accounts) -> None:
        self._pool = pool
        self._clock = clock
        self._log = log
        self._accounts = accounts

    async def perform(self, act: Act, request_id: str | None = None) -> Performed:
        """Store an act and all that follows from it.

        `request_id` names a change or a cancellation, so that it can be sent again. What has a name already and the
        same content is answered as it was, `new` False. Raises `ActRefused` or `ContentDiffers`.
        """
        named = request_id if own_id(act) is None else own_id(act)
        return await transaction(self._pool, lambda lent: self._steps(lent, act, named))

    async def subscription(self, name: str) -> Subscription | None:
        """A subscription as the account has it now, None if there is none."""
        async with connection(self._pool) as lent:
            customer = await lent.fetchval(queries().owner_of, name)
            account = None if customer is None else await self._accounts.load(lent, customer)
        return None if account is None else account.subscriptions[name]

    async def list_subscriptions(
        self, customer: str | None, after: tuple[str, str], limit: int
    ) -> list[tuple[str, Subscription]]:
        """At most `limit` subscriptions that come after a (customer, id), of one customer or of all."""
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().list_subscriptions, customer, *after, limit)
            accounts = await self._accounts.load_many(lent, sorted({row["customer"] for row in rows}))
        return [(row["customer"], accounts[row["customer"]].subscriptions[row["id"]]) for row in rows]

    async def _steps(self, lent: asyncpg.Connection, act: Act, named: str | None) -> Performed:
        customer = await self._customer_of(lent, act)
        # 1 lock: the partition, if what is owed changes; the customer, so that its acts come one after another
        courses = isinstance(act, Subscribe | Change | Cancel)
        if courses:
            await lock(lent, partition_of(customer, self._log.partitions))
        await lent.execute(queries().lock_customer, customer)
        # 2 the account as it is
        row = await lent.fetchrow(queries().account_text, customer)
        if row is None:
            raise ActRefused(Refusal.UNKNOWN_CUSTOMER)
        catalog = await self._accounts.catalog(lent, row["catalog"])
        account = unfolded(catalog, Written(customer, *row))
        if named is not None and (stored := await self._stored(lent, act, customer, named)) is not None:
            return Performed(account, stored, new=False)
        # 3 admit it
        at = await self._instant(lent, customer)
        taken = isinstance(act, Subscribe) and await lent.fetchval(queries().owner_of, act.id) is not None
        refusal = admit(catalog, account, at, act, taken=taken)
        if refusal is not None:
            raise ActRefused(refusal)
        act = pinned(catalog, act)
        before = cuts(account, at)
        account.add(catalog, at, act)
        # 4 the act and what is projected of it
        await lent.execute(queries().insert_act, customer, at.moment(), kind_of(act), named, to_tree(act))
        await self._project(lent, account, at, act)
        # 5 usage that a new boundary divides, and what is owed
        if courses:
            if new_cuts := sorted(cuts(account, at) - before):
                await split(lent, self._log, customer, new_cuts)
            await rederive(lent, account, at)
        # 6 tell who listens, once this is committed
        await lent.execute(queries().notify_account, customer)
        return Performed(account, act, new=True)

    async def _customer_of(self, lent: asyncpg.Connection, act: Act) -> str:
        name = subscription_of(act)
        customer = customer_of(act) if name is None else await lent.fetchval(queries().owner_of, name)
        if customer is None:
            raise ActRefused(Refusal.UNKNOWN_SUBSCRIPTION)
        return str(customer)

    async def _stored(self, lent: asyncpg.Connection, act: Act, customer: str, named: str) -> Act | None:
        """What was stored under the id before, None if nothing was; `ContentDiffers` if it is something else."""
        if isinstance(act, Subscribe):
            row = await lent.fetchrow(queries().find_subscribe, named)
        else:
            row = await lent.fetchrow(queries().find_act, customer, kind_of(act), named)
        if row is None:
            return None
        stored = convert(row["body"], cast("type[Act]", Act))
        if not same_request(act, stored):
            raise ActRefused(Refusal.SUBSCRIPTION_EXISTS) if isinstance(act, Subscribe) else ContentDiffers
        return stored

    async def _instant(self, lent: asyncpg.Connection, customer: str) -> Instant:
        """Now, but never before the customer's last act, whatever the clock of another machine said."""
        last = await lent.fetchval(queries().last_act_at, customer)
        now = self._clock.now()
        return now if last is None else max(now, Instant.of(last))

    async def _project(self, lent: asyncpg.Connection, account: Account, at: Instant, act: Act) -> None:
        name = act.id if isinstance(act, Subscribe) else subscription_of(act)
        if name is not None:
            one = account.subscriptions[name]
            plan = one.course.phase_at(at).plan
            ended = None if one.end == FOREVER else Instant(one.end).moment()
            started = Instant(one.start).moment()
            await lent.execute(queries().put_subscription, name, account.key, plan.key, plan.version, started, ended)
        # What was due up to now has been seen to, or will be; an act can only make issues from now on.
        due = next_issue(account, at - 1)
        await lent.execute(
            queries().put_due, account.key, None if due == FOREVER else Instant(due).moment(), at.moment()
        )
