-- name: insert_seen
INSERT INTO seen (partition, first_offset, expires_at, count, keys) VALUES ($1, $2, $3, $4, $5);

-- name: load_seen
SELECT expires_at, keys FROM seen WHERE partition = $1 AND expires_at > $2 ORDER BY expires_at, first_offset;

-- name: expire_seen
DELETE FROM seen WHERE partition = $1 AND expires_at <= $2;

-- name: seen_between
-- The checkpoints that hold offsets first to last: those that began in the range, and the one that it began in.
SELECT keys FROM seen WHERE partition = $1 AND first_offset <= $3 AND first_offset >= coalesce(
    (SELECT max(first_offset) FROM seen WHERE partition = $1 AND first_offset <= $2), $2);
