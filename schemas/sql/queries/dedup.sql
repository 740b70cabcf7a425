-- name: insert_seen
INSERT INTO seen (partition, first_offset, expires_at, count, keys) VALUES ($1, $2, $3, $4, $5);

-- name: merge_seen
-- The rows of consecutive checkpoints, from the one that begins at $2 on, become one.
WITH gone AS (
    DELETE FROM seen WHERE partition = $1 AND first_offset >= $2 RETURNING first_offset, expires_at, count, keys
)
INSERT INTO seen (partition, first_offset, expires_at, count, keys)
SELECT $1, min(first_offset), max(expires_at), sum(count), string_agg(keys, ''::bytea ORDER BY first_offset) FROM gone;

-- name: load_seen
SELECT expires_at, keys FROM seen WHERE partition = $1 AND expires_at > $2 ORDER BY expires_at, first_offset;

-- name: expire_seen
DELETE FROM seen WHERE partition = $1 AND expires_at <= $2;

-- name: seen_between
-- The checkpoints that hold offsets first to last: those that began in the range, and the one that it began in.
SELECT keys FROM seen WHERE partition = $1 AND first_offset <= $3 AND first_offset >= coalesce(
    (SELECT max(first_offset) FROM seen WHERE partition = $1 AND first_offset <= $2), $2);
