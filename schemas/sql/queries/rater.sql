-- name: accruals_of
SELECT customer, subscription, charge, segment_start, segment_end, dimensions, events, quantity, numerator, divisor
FROM accrual WHERE customer = ANY ($1::text[]) ORDER BY customer, subscription, charge, segment_start, dimensions;

-- name: sums_of
SELECT customer, subscription, charge, segment_start, dimensions, events, quantity
FROM accrual WHERE customer = ANY ($1::text[]) AND segment_end > $2;

-- name: put_totals
-- Absolute values, sorted by key: one writer a partition.
INSERT INTO accrual (customer, subscription, charge, segment_start, segment_end, dimensions, events, quantity, numerator, divisor)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::bigint[],
                     $8::numeric[], $9::numeric[], $10::numeric[])
           AS new (customer, subscription, charge, segment_start, segment_end, dimensions, events, quantity, numerator, divisor)
ORDER BY new.customer COLLATE "C", new.subscription COLLATE "C", new.charge COLLATE "C", new.segment_start, new.dimensions COLLATE "C"
ON CONFLICT (customer, subscription, charge, segment_start, dimensions) DO UPDATE SET
    segment_end = EXCLUDED.segment_end,
    events      = EXCLUDED.events,
    quantity    = EXCLUDED.quantity,
    numerator   = EXCLUDED.numerator,
    divisor     = EXCLUDED.divisor;

-- name: drop_totals
DELETE FROM accrual WHERE customer = $1;
