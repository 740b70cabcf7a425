-- What is true of a whole installation: its kind of clock, and the way back to an empty one.

-- name: claim_clock
-- The clock that the data were made under: $1 if they are new.
WITH added AS (
    INSERT INTO setting (key, value) VALUES ('clock', $1) ON CONFLICT (key) DO NOTHING RETURNING value
)
SELECT value FROM added UNION ALL SELECT value FROM setting WHERE key = 'clock' LIMIT 1;

-- name: save_clock
UPDATE setting SET value = $1 WHERE key = 'clock';

-- name: drop_all_data
-- All but keys, settings, migrations and the partitions of the log.
TRUNCATE meter, plan, customer, act, subscription, due, partition_state, seen, outcome, usage, accrual, rejected,
    log_message, seller, invoice, invoice_line, archive_state, archive_file, meter_since;

-- name: begin_sellers
INSERT INTO seller (key) VALUES ('default');

-- name: begin_partitions
-- What is in the log belongs to the data that were dropped: reading begins behind it, and so does the archive.
WITH archive AS (
    INSERT INTO archive_state (log_id, partition, first_offset, next_offset)
    SELECT $1, partition, next_offset, next_offset FROM unnest($2::integer[], $3::bigint[]) AS ends (partition, next_offset)
)
INSERT INTO partition_state (partition, log_id, next_offset)
SELECT partition, $1, next_offset FROM unnest($2::integer[], $3::bigint[]) AS ends (partition, next_offset);
