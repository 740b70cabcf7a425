-- name: add_usage
-- Sorted by key, so that no two transactions lock rows in different order.
INSERT INTO usage (customer, meter, bucket, dimensions, named, quantity, events, first_offset, last_offset)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::numeric[], $7::bigint[],
                     $8::bigint[], $9::bigint[]) AS new (customer, meter, bucket, dimensions, named, quantity, events, first, last)
ORDER BY new.customer COLLATE "C", new.meter COLLATE "C", new.bucket, new.dimensions COLLATE "C", new.named COLLATE "C"
ON CONFLICT (customer, meter, bucket, dimensions, named) DO UPDATE SET
    quantity     = usage.quantity + EXCLUDED.quantity,
    events       = usage.events + EXCLUDED.events,
    first_offset = least(usage.first_offset, EXCLUDED.first_offset),
    last_offset  = greatest(usage.last_offset, EXCLUDED.last_offset);

-- name: usage_between
-- The buckets of some customers that start in [from, to).
SELECT customer, meter, bucket, dimensions, named, quantity, events
FROM usage WHERE customer = ANY ($1::text[]) AND bucket >= $2 AND bucket < $3
ORDER BY customer, meter, bucket, dimensions, named;

-- name: buckets_of_hour
SELECT meter, bucket, dimensions, named, quantity, events, first_offset, last_offset
FROM usage WHERE customer = $1 AND bucket >= $2 AND bucket < $3
ORDER BY meter, bucket, dimensions, named;

-- name: delete_hour
DELETE FROM usage WHERE customer = $1 AND bucket >= $2 AND bucket < $3;
