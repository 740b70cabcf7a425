-- name: archive_progress
-- How far each partition is committed, and how far archived.
SELECT p.partition, p.log_id, p.next_offset AS committed, a.next_offset, a.cut_offset, a.cut_by
FROM partition_state AS p LEFT JOIN archive_state AS a ON a.log_id = p.log_id AND a.partition = p.partition
WHERE p.log_id <> '' ORDER BY p.partition;

-- name: archived_offsets
-- Up to where each partition is both committed and archived.
SELECT p.partition, least(p.next_offset, coalesce(a.next_offset, 0)) AS next_offset
FROM partition_state AS p LEFT JOIN archive_state AS a ON a.log_id = p.log_id AND a.partition = p.partition
ORDER BY p.partition;

-- name: begin_archive
INSERT INTO archive_state (log_id, partition, first_offset, next_offset) VALUES ($1, $2, $3, $3)
ON CONFLICT (log_id, partition) DO NOTHING;

-- name: record_cut
-- Unless somebody else has cut here: then nothing is returned.
UPDATE archive_state SET cut_offset = $4, cut_by = $5
WHERE log_id = $1 AND partition = $2 AND next_offset = $3 AND cut_offset IS NULL RETURNING cut_offset;

-- name: finish_cut
UPDATE archive_state SET next_offset = cut_offset, cut_offset = NULL, cut_by = ''
WHERE log_id = $1 AND partition = $2 AND next_offset = $3 AND cut_offset = $4 RETURNING next_offset;

-- name: insert_archive_file
INSERT INTO archive_file (log_id, partition, day, first_offset, next_offset, path, events)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: archive_files
-- The files of a partition ($1; null: of all), of events of the days $2 to $3 (null: no bound), oldest day first.
SELECT log_id, partition, day, first_offset, next_offset, path, events FROM archive_file
WHERE ($1::integer IS NULL OR partition = $1) AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)
ORDER BY day, partition, log_id, first_offset;

-- name: archive_states
SELECT log_id, partition, first_offset, next_offset FROM archive_state ORDER BY partition, log_id;

-- name: small_archive_files
-- The oldest day of a partition, but none of $5, of which more than $3 files hold fewer than $4 events each.
SELECT log_id, partition, day FROM archive_file
WHERE log_id = $1 AND partition = $2 AND events < $4 AND day <> ALL ($5::date[])
GROUP BY log_id, partition, day HAVING count(*) > $3 ORDER BY day LIMIT 1;

-- name: drop_archive_files
DELETE FROM archive_file WHERE path = ANY ($1::text[]) RETURNING path;

-- name: meters_since
SELECT meter, first_offset, definition FROM meter_since WHERE partition = $1 ORDER BY first_offset, meter;

-- name: rejected_at
-- What is listed of the events of partition $1 at offsets $2, indices $3.
SELECT log_offset, index, meter, code FROM rejected
WHERE partition = $1 AND (log_offset, index) IN (SELECT * FROM unnest($2::bigint[], $3::integer[]));

-- name: lines_of_segment
-- Lines of final invoices that bill a charge's segment: those of the subscription's own invoices, or of consolidated ones.
SELECT i.id, i.number, l.position, l.kind, l.dimensions
FROM invoice AS i JOIN invoice_line AS l ON l.invoice = i.id
WHERE i.customer = $1 AND i.status = 'final' AND l.charge = $2 AND l.period_start = $3
  AND l.kind IN ('usage', 'adjustment') AND (i.subscription = $4 OR i.subscription IN (
    SELECT s.id FROM subscription AS s, customer AS c
    WHERE s.customer = $1 AND c.key = $1 AND (c.definition ->> 'consolidate')::boolean))
ORDER BY i.issued_at, i.id, l.position;

-- name: customers_with_usage
SELECT key FROM customer UNION SELECT DISTINCT customer FROM usage ORDER BY key;

-- name: usage_of_customers
SELECT customer, meter, bucket, dimensions, named, quantity, events, first_offset, last_offset
FROM usage WHERE customer = ANY ($1::text[]);

-- name: usage_of_customers_dropped
-- Their usage of events from offset $2 on, in buckets of [$3, $4).
DELETE FROM usage WHERE customer = ANY ($1::text[]) AND first_offset >= $2 AND bucket >= $3 AND bucket < $4;

-- name: backdate_meter
-- Without a row the meter counts, as it is now, from the beginning.
DELETE FROM meter_since WHERE meter = $1;
