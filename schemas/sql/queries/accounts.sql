-- name: insert_customer
INSERT INTO customer (key, partition, definition, created_at) VALUES ($1, $2, $3, $4);

-- name: update_customer
UPDATE customer SET definition = $2 WHERE key = $1;

-- name: get_customer
SELECT key, definition FROM customer WHERE key = $1;

-- name: list_customers
SELECT key, definition FROM customer WHERE key > $1 ORDER BY key LIMIT $2;

-- name: any_subscription
SELECT EXISTS (SELECT FROM subscription WHERE customer = $1);

-- name: account_text
-- All that a customer is and did, as one row of text: equal text means an equal account.
SELECT c.definition::text AS definition, (
    SELECT string_agg((extract(epoch FROM a.at) * 1000000)::bigint || ' ' || a.body::text, E'\n' ORDER BY a.at, a.sequence)
    FROM act AS a WHERE a.customer = c.key
) AS acts, coalesce((SELECT value FROM setting WHERE key = 'catalog_version'), '0')::bigint AS catalog
FROM customer AS c WHERE c.key = $1;

-- name: accounts_text
SELECT c.key, c.definition::text AS definition, (
    SELECT string_agg((extract(epoch FROM a.at) * 1000000)::bigint || ' ' || a.body::text, E'\n' ORDER BY a.at, a.sequence)
    FROM act AS a WHERE a.customer = c.key
) AS acts, coalesce((SELECT value FROM setting WHERE key = 'catalog_version'), '0')::bigint AS catalog
FROM customer AS c WHERE c.key = ANY ($1::text[]) ORDER BY c.key;

-- name: owner_of
SELECT customer FROM subscription WHERE id = $1;

-- name: find_act
SELECT customer, body FROM act WHERE customer = $1 AND kind = $2 AND id = $3;

-- name: find_subscribe
SELECT customer, body FROM act WHERE id = $1 AND kind = 'subscribe';

-- name: insert_act
INSERT INTO act (customer, at, kind, id, body) VALUES ($1, $2, $3, $4, $5);

-- name: last_act_at
SELECT max(at) FROM act WHERE customer = $1;

-- name: put_subscription
INSERT INTO subscription (id, customer, plan, version, started_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET plan = EXCLUDED.plan, version = EXCLUDED.version, ended_at = EXCLUDED.ended_at;

-- name: list_subscriptions
SELECT customer, id FROM subscription
WHERE ($1::text IS NULL OR customer = $1) AND (customer, id) > ($2, $3) ORDER BY customer, id LIMIT $4;

-- name: notify_account
SELECT pg_notify('account', $1);

-- name: put_due
-- $2 the next issue as the account stands now (null: none), $3 now. What was due by now and is not seen to yet stays due.
WITH gone AS (
    DELETE FROM due WHERE customer = $1 AND $2::timestamptz IS NULL AND at > $3
)
INSERT INTO due (customer, at) SELECT $1, $2 WHERE $2 IS NOT NULL
ON CONFLICT (customer) DO UPDATE SET at = CASE WHEN due.at <= $3 THEN least(due.at, EXCLUDED.at) ELSE EXCLUDED.at END;

-- name: lock_customer
-- Acts of a customer come one after another, and never while its invoices are made final.
SELECT FROM customer WHERE key = $1 FOR NO KEY UPDATE;
