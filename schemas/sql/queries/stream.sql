-- name: take_partition
-- Own the partition from now on: its epoch grows, so whoever owned it before is fenced.
INSERT INTO partition_state (partition, log_id, owner, epoch) VALUES ($1, $2, $3, 1)
ON CONFLICT (partition) DO UPDATE SET
    owner = $3,
    epoch = partition_state.epoch + 1,
    log_id = CASE WHEN partition_state.log_id = '' THEN $2 ELSE partition_state.log_id END
RETURNING log_id, epoch, next_offset, catalog_version;

-- name: hold_partition
SELECT epoch, next_offset, catalog_version FROM partition_state WHERE partition = $1 FOR UPDATE;

-- name: lock_partition
-- Lock the row for a change of what a customer owes; its worker will see that what it knows is old.
INSERT INTO partition_state (partition, log_id, catalog_version) VALUES ($1, '', 1)
ON CONFLICT (partition) DO UPDATE SET catalog_version = partition_state.catalog_version + 1;

-- name: look_up_partition
SELECT epoch, next_offset FROM partition_state WHERE partition = $1;

-- name: advance_partition
UPDATE partition_state SET next_offset = $2 WHERE partition = $1;

-- name: count_outcomes
INSERT INTO outcome (partition, code, events)
SELECT $1, code, events FROM unnest($2::text[], $3::bigint[]) AS new (code, events) ORDER BY code
ON CONFLICT (partition, code) DO UPDATE SET events = outcome.events + EXCLUDED.events;

-- name: insert_rejected
INSERT INTO rejected (partition, log_offset, index, meter, code, reason, received_at, customer, source, event_id, payload)
SELECT $1, * FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                         $8::text[], $9::text[], $10::text[], $11::bytea[]);

-- name: committed_offsets
SELECT partition, log_id, next_offset FROM partition_state ORDER BY partition;
