-- The log that is a table: offsets are given under the partition's row lock, so commits come in offset order.

-- name: make_log
INSERT INTO setting (key, value) VALUES ('log_id', 'postgres/' || gen_random_uuid()) ON CONFLICT (key) DO NOTHING;

-- name: make_log_partitions
INSERT INTO log_partition (partition)
SELECT generate_series(0, $1::integer - 1) WHERE NOT EXISTS (SELECT FROM log_partition)
ON CONFLICT (partition) DO NOTHING;

-- name: describe_log
SELECT (SELECT value FROM setting WHERE key = 'log_id') AS identity, count(*)::integer AS partitions FROM log_partition;

-- name: append_messages
-- $1 partitions, $2 headers, $3 payloads, in the order of appending. Rows are locked in the order of partitions.
WITH message AS (
    SELECT * FROM unnest($1::integer[], $2::text[], $3::bytea[]) WITH ORDINALITY AS m (partition, headers, payload, n)
), held AS (
    SELECT partition FROM log_partition
    WHERE partition = ANY ($1::integer[]) ORDER BY partition FOR UPDATE
), taken AS (
    UPDATE log_partition AS p SET next_offset = p.next_offset + added.messages
    FROM (SELECT partition, count(*) AS messages FROM message JOIN held USING (partition) GROUP BY partition) AS added
    WHERE p.partition = added.partition
    RETURNING p.partition, p.next_offset - added.messages AS first_offset
)
INSERT INTO log_message (partition, log_offset, appended_at, headers, payload)
SELECT partition, first_offset + row_number() OVER (PARTITION BY partition ORDER BY n) - 1, clock_timestamp(),
       headers::jsonb, payload
FROM message JOIN taken USING (partition)
RETURNING partition, log_offset;

-- name: log_bounds
SELECT partition, next_offset, (
    SELECT log_offset FROM log_message AS m WHERE m.partition = p.partition ORDER BY log_offset LIMIT 1
) AS first_offset
FROM log_partition AS p ORDER BY partition;

-- name: fetch_messages
-- $1 partitions, $2 the first offset of each, $3 most records, $4 most bytes of a partition (one record at least).
SELECT want.partition, log_offset, (extract(epoch FROM appended_at) * 1000000)::bigint AS appended,
       CASE WHEN headers = '{}' THEN NULL ELSE headers::text END AS headers, payload
FROM unnest($1::integer[], $2::bigint[]) AS want (partition, first_offset), LATERAL (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY log_offset) - octet_length(payload) AS bytes_before
    FROM (
        SELECT log_offset, appended_at, headers, payload FROM log_message AS m
        WHERE m.partition = want.partition AND log_offset >= want.first_offset ORDER BY log_offset LIMIT $3
    ) AS next
) AS counted
WHERE bytes_before < $4
ORDER BY want.partition, log_offset;

-- name: read_messages
SELECT log_offset, (extract(epoch FROM appended_at) * 1000000)::bigint AS appended,
       CASE WHEN headers = '{}' THEN NULL ELSE headers::text END AS headers, payload
FROM log_message WHERE partition = $1 AND log_offset BETWEEN $2 AND $3 ORDER BY log_offset;

-- name: trim_messages
DELETE FROM log_message AS m USING unnest($1::integer[], $2::bigint[]) AS done (partition, next_offset)
WHERE m.partition = done.partition AND m.log_offset < done.next_offset AND m.appended_at < $3;

-- name: lease_members
-- How many sessions hold a lock of the class $1.
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = $1::integer::oid AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: lease_claim
SELECT pg_try_advisory_lock($1::integer, $2::integer);

-- name: lease_release
SELECT pg_advisory_unlock($1::integer, $2::integer);
