"""The migrations lead to the very database of `schema.sql`; they run once, whole, in order, and never change."""

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from metering.embedded import EmbeddedPostgres
from metering.errors import ConfigurationError, StoreUnavailable
from metering.postgres.migrate import MIGRATIONS, migrate, read_migrations

# Each query lists one kind of object in the schema `public`, in words that do not depend on internal numbers.
CATALOG = {
    "columns": """
        SELECT c.relname, c.relkind::text, c.relpersistence::text, c.reloptions::text, a.attname, a.attnum::int,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, a.attgenerated::text,
               a.attstorage::text, a.attcompression::text, k.collname::text, a.attstattarget::int,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation k ON k.oid = a.attcollation
        WHERE c.relnamespace = 'public'::regnamespace ORDER BY c.relname, a.attnum""",
    "constraints": """
        SELECT coalesce(r.relname, ''), o.conname, o.contype::text, pg_get_constraintdef(o.oid)
        FROM pg_constraint o LEFT JOIN pg_class r ON r.oid = o.conrelid
        WHERE o.connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, increment_by, cycle
        FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1""",
    "functions": """
        SELECT proname, pg_get_function_identity_arguments(oid), pg_get_functiondef(oid)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p') ORDER BY 1, 2""",
    "triggers": """
        SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid)
        FROM pg_trigger t WHERE NOT t.tgisinternal ORDER BY 1, 2""",
    "types": """
        SELECT t.typname, t.typtype::text, array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_type t LEFT JOIN pg_enum e ON e.enumtypid = t.oid
        WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd') GROUP BY t.oid ORDER BY 1""",
    "partitions": """
        SELECT c.relname, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid)
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
        AND (c.relispartition OR c.relkind = 'p') ORDER BY 1""",
    "comments": """
        SELECT objoid::regclass::text, objsubid, description FROM pg_description
        WHERE classoid = 'pg_class'::regclass AND objoid::regclass::text NOT LIKE 'pg_catalog.%'
        AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) ORDER BY 1, 2""",
}
OWN_TABLE = "migration"  # The migrator makes it for itself.


@pytest.fixture
async def empty(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """The address of a database without any table."""
    admin = await asyncpg.connect(postgres_server.dsn_of("postgres"))
    await admin.execute("CREATE DATABASE empty")
    yield postgres_server.dsn_of("empty")
    await admin.execute("DROP DATABASE empty WITH (FORCE)")
    await admin.close()


def write(folder: Path, **sql: str) -> Path:
    """Write migrations by their names without the suffix; `_1_begin` stands for `0001_begin`."""
    for name, text in sql.items():
        _, number, words = name.split("_", 2)
        (folder / f"{int(number):04}_{words}.sql").write_text(text)
    return folder


async def catalog(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything that the schema `public` of a database consists of, but the migrator's own table."""
    connection = await asyncpg.connect(dsn)
    try:
        found = {kind: [tuple(row) for row in await connection.fetch(sql)] for kind, sql in CATALOG.items()}
    finally:
        await connection.close()
    return {kind: [row for row in rows if row[0] not in (OWN_TABLE, "migration_pkey")] for kind, rows in found.items()}


async def value(dsn: str, sql: str) -> object:
    """The single value that a statement returns."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_all_migrations_applied_give_the_database_of_schema_sql(database: str, empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute((files("schemas") / "sql" / "schema.sql").read_text())
    await connection.close()

    expected, actual = await catalog(empty), await catalog(database)

    assert {row[0] for row in expected["columns"]} >= {"usage", "accrual", "partition_state"}
    for kind in CATALOG:
        assert actual[kind] == expected[kind], kind


async def test_catalog_comparison_of_a_changed_database_finds_the_difference(database: str) -> None:
    before = await catalog(database)
    connection = await asyncpg.connect(database)
    await connection.execute(
        "ALTER TABLE accrual ALTER COLUMN customer SET DEFAULT 'x'; CREATE INDEX odd ON usage (meter)"
    )
    await connection.close()

    after = await catalog(database)

    assert {kind for kind in CATALOG if before[kind] != after[kind]} == {"columns", "indexes"}


async def test_migrating_a_current_database_applies_nothing(database: str) -> None:
    assert await migrate(database) == []
    expected = [migration.name for migration in read_migrations(MIGRATIONS)]
    assert await value(database, "SELECT array_agg(name ORDER BY name) FROM migration") == expected


async def test_new_files_are_applied_in_order_and_named(empty: str, tmp_path: Path) -> None:
    write(tmp_path, _1_begin="CREATE TABLE a (n int); INSERT INTO a VALUES (1)")
    assert await migrate(empty, tmp_path) == ["0001_begin"]
    write(tmp_path, _2_double="UPDATE a SET n = n * 2", _3_add="UPDATE a SET n = n + 5")
    assert await migrate(empty, tmp_path) == ["0002_double", "0003_add"]
    assert await value(empty, "SELECT n FROM a") == 7


async def test_a_failing_file_is_rolled_back_and_those_before_it_stay(empty: str, tmp_path: Path) -> None:
    write(tmp_path, _1_begin="CREATE TABLE a (n int)", _2_wrong="CREATE TABLE b (n int); SELECT no_such_thing")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(empty, tmp_path)
    assert await value(empty, "SELECT to_regclass('b')") is None
    write(tmp_path, _2_wrong="CREATE TABLE b (n int)")
    assert await migrate(empty, tmp_path) == ["0002_wrong"]


async def test_many_migrators_at_once_apply_each_file_once(empty: str, tmp_path: Path) -> None:
    steps = {f"_{number}_step": "UPDATE a SET n = n + 1" for number in range(2, 8)}
    write(tmp_path, _1_begin="CREATE TABLE a (n int); INSERT INTO a VALUES (0)", **steps)
    applied = await asyncio.gather(*(migrate(empty, tmp_path) for _ in range(4)))
    expected = ["0001_begin", *(f"{number:04}_step" for number in range(2, 8))]
    assert sorted(name for names in applied for name in names) == expected
    assert await value(empty, "SELECT n FROM a") == 6


async def test_a_changed_applied_file_is_refused(empty: str, tmp_path: Path) -> None:
    await migrate(empty, write(tmp_path, _1_begin="CREATE TABLE a (n int)"))
    write(tmp_path, _1_begin="CREATE TABLE a (n bigint)", _2_more="CREATE TABLE b (n int)")
    with pytest.raises(ConfigurationError, match="0001_begin was changed after"):
        await migrate(empty, tmp_path)
    assert await value(empty, "SELECT to_regclass('b')") is None


async def test_a_database_newer_than_the_code_is_refused(empty: str, tmp_path: Path) -> None:
    await migrate(empty, write(tmp_path, _1_begin="SELECT 1", _2_more="SELECT 2"))
    (tmp_path / "0002_more.sql").unlink()
    with pytest.raises(ConfigurationError, match="0002_more, which this version does not know"):
        await migrate(empty, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a", "0003_c"], "0003_c.sql: the next number is 0002"),
        (["0001_a", "0001_b"], "0001_b.sql: the next number is 0002"),
        (["1_a"], "is named like"),
        (["0001_A"], "is named like"),
    ],
    ids=["gap", "number-twice", "short-number", "capital"],
)
def test_wrongly_numbered_files_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    with pytest.raises(ConfigurationError, match=message):
        read_migrations(tmp_path)


async def test_postgres_away_is_store_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await migrate(f"postgresql://metering@/metering?host={tmp_path}")
