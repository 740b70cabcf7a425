-- name: catalog_version
SELECT coalesce((SELECT value FROM setting WHERE key = 'catalog_version'), '0')::bigint;

-- name: bump_catalog_version
INSERT INTO setting (key, value) VALUES ('catalog_version', '1')
ON CONFLICT (key) DO UPDATE SET value = (setting.value::bigint + 1)::text;

-- name: lock_catalog
-- One change of the catalog at a time, however many processes there are.
SELECT pg_advisory_xact_lock(hashtext('catalog'));

-- name: load_meters
SELECT key, definition FROM meter ORDER BY key;

-- name: load_plans
SELECT key, version, created_at, definition FROM plan ORDER BY key, version;

-- name: put_meter
-- The caller holds every partition: from their next offsets on the meter counts as it is defined now.
WITH since AS (
    INSERT INTO meter_since (meter, partition, first_offset, definition)
    SELECT $1, partition, next_offset, $2 FROM partition_state
    ON CONFLICT (meter, partition, first_offset) DO UPDATE SET definition = EXCLUDED.definition
)
INSERT INTO meter (key, definition, created_at) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET definition = EXCLUDED.definition;

-- name: insert_plan
INSERT INTO plan (key, version, definition, created_at) VALUES ($1, $2, $3, $4);
