-- name: insert_key
INSERT INTO api_key (id, hash, scopes, note, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- name: find_key
SELECT id, hash, scopes FROM api_key WHERE hash = $1 AND revoked_at IS NULL;

-- name: lock_keys
-- Two processes that start at once print one admin key, not two.
SELECT pg_advisory_xact_lock(hashtext('api_key'));

-- name: any_admin_key
SELECT EXISTS (SELECT FROM api_key WHERE 'admin' = ANY (scopes) AND revoked_at IS NULL);

-- name: list_keys
SELECT id, scopes, note, created_at, revoked_at FROM api_key WHERE id > $1 ORDER BY id LIMIT $2;

-- name: revoke_key
UPDATE api_key SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
RETURNING id, scopes, note, created_at, revoked_at;
