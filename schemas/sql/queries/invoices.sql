-- name: take_due
-- Customers with something to issue by now; what another scheduler works on is left to it.
SELECT customer, at FROM due WHERE at <= $1 ORDER BY at, customer LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: mark_due
-- Something arrived that may make an invoice: look again, at that instant or where it was to be looked before.
INSERT INTO due (customer, at) SELECT * FROM unnest($1::text[], $2::timestamptz[])
ON CONFLICT (customer) DO UPDATE SET at = least(due.at, EXCLUDED.at);

-- name: open_drafts
SELECT customer, subscription FROM invoice WHERE customer = ANY ($1::text[]) AND status = 'draft';

-- name: advance_due
UPDATE due SET at = new.at FROM unnest($1::text[], $2::timestamptz[]) AS new (customer, at) WHERE due.customer = new.customer;

-- name: delete_due
DELETE FROM due WHERE customer = ANY ($1::text[]);

-- name: insert_drafts
INSERT INTO invoice (id, customer, subscription, currency, status, seller, issued_at, finalize_at, period_start, period_end)
SELECT id, customer, subscription, currency, 'draft', 'default', issued_at, finalize_at, period_start, issued_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[])
     AS new (id, customer, subscription, currency, issued_at, finalize_at, period_start)
ON CONFLICT (id) DO NOTHING;

-- name: ready_drafts
-- $1 partitions, $2 the instant up to which each is complete: drafts that may become final, the earliest first.
SELECT i.customer, i.issued_at, c.partition
FROM invoice AS i JOIN customer AS c ON c.key = i.customer
JOIN unnest($1::integer[], $2::timestamptz[]) AS done (partition, upto) ON done.partition = c.partition
WHERE i.status = 'draft' AND i.finalize_at <= done.upto
ORDER BY i.issued_at, i.subscription NULLS FIRST LIMIT $3;

-- name: lock_customers
SELECT key FROM customer WHERE key = ANY ($1::text[]) ORDER BY key FOR NO KEY UPDATE SKIP LOCKED;

-- name: drafts_of
SELECT id, customer, subscription, issued_at, finalize_at FROM invoice
WHERE customer = ANY ($1::text[]) AND status = 'draft' AND issued_at <= $2
ORDER BY issued_at, subscription NULLS FIRST;

-- name: waiting_drafts
-- Drafts past their grace, and customers with something to issue that another scheduler is at: its drafts are not seen yet.
SELECT (SELECT count(*) FROM invoice WHERE status = 'draft' AND finalize_at <= $1)
     + (SELECT count(*) FROM due WHERE at <= $1);

-- name: final_ids
SELECT customer, id FROM invoice WHERE customer = ANY ($1::text[]) AND status = 'final'
ORDER BY customer, issued_at, subscription NULLS FIRST, id;

-- name: final_details
SELECT id, detail FROM invoice WHERE id = ANY ($1::text[]) AND status = 'final';

-- name: next_numbers
UPDATE seller SET last_number = last_number + $2 WHERE key = $1 RETURNING last_number;

-- name: finalize
UPDATE invoice AS i SET
    status = 'final', number = new.number, subscription = new.subscription, finalized_at = $1, subtotal = new.subtotal, tax = new.tax,
    credits = new.credits, total = new.total, due = new.due, detail = new.detail::json
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[],
            $9::numeric[], $10::text[])
     AS new (id, number, subscription, subtotal, tax, credits, total, due, detail)
WHERE i.id = new.id AND i.status = 'draft';

-- name: delete_drafts
DELETE FROM invoice WHERE id = ANY ($1::text[]) AND status = 'draft';

-- name: get_invoice
SELECT id, customer, status, number, issued_at, detail,
    coalesce((SELECT definition ->> 'timezone' FROM customer WHERE key = invoice.customer), 'UTC') AS timezone
FROM invoice WHERE id = $1;

-- name: list_invoices
SELECT id, customer, status, number, issued_at, detail,
    coalesce((SELECT definition ->> 'timezone' FROM customer WHERE key = invoice.customer), 'UTC') AS timezone
FROM invoice WHERE ($1::text IS NULL OR customer = $1) AND ($2::text IS NULL OR status = $2) AND (issued_at, id) > ($3, $4)
ORDER BY issued_at, id LIMIT $5;

-- name: late_window
-- The widest late window that a backfill has asked for, in microseconds; 0: none has.
SELECT coalesce((SELECT value FROM setting WHERE key = 'late_window'), '0')::bigint;

-- name: raise_late_window
INSERT INTO setting (key, value) VALUES ('late_window', $1::bigint::text)
ON CONFLICT (key) DO UPDATE SET value = greatest(setting.value::bigint, EXCLUDED.value::bigint)::text;

-- name: owing
-- All that a balance or a draft is made of, read at one instant.
-- $1 the customer; $2 totals of segments that ended before it are left out ("more" says whether there are any).
SELECT c.definition::text AS definition, (
    SELECT string_agg((extract(epoch FROM a.at) * 1000000)::bigint || ' ' || a.body::text, E'\n' ORDER BY a.at, a.sequence)
    FROM act AS a WHERE a.customer = c.key
) AS acts, coalesce((SELECT value FROM setting WHERE key = 'catalog_version'), '0')::bigint AS catalog, c.partition,
ARRAY(
    SELECT id FROM invoice WHERE customer = c.key AND status = 'final'
    ORDER BY issued_at, subscription NULLS FIRST, id
) AS finals,
ARRAY(SELECT ROW (id, subscription, issued_at) FROM invoice WHERE customer = c.key AND status = 'draft') AS drafts,
(SELECT at FROM due WHERE customer = c.key) AS due_from,
coalesce((SELECT value FROM setting WHERE key = 'late_window'), '0')::bigint AS late_window,
ARRAY(
    SELECT ROW (r.subscription, r.charge, r.segment_start, r.dimensions, r.events, r.quantity)
    FROM accrual AS r WHERE r.customer = c.key AND r.segment_end > $2
) AS totals,
EXISTS (SELECT FROM accrual AS r WHERE r.customer = c.key AND r.segment_end <= $2) AS more
FROM customer AS c WHERE c.key = $1;

-- name: totals_since
SELECT customer, subscription, charge, segment_start, dimensions, events, quantity
FROM accrual WHERE customer = ANY ($1::text[]) AND segment_end > $2;
