-- name: list_rejected
SELECT partition, log_offset, index, meter, code, reason, received_at, customer, source, event_id, payload
FROM rejected
WHERE ($1::text IS NULL OR customer = $1) AND ($2::text IS NULL OR code = $2)
  AND (partition, log_offset, index, meter) > ($3, $4, $5, $6)
ORDER BY partition, log_offset, index, meter LIMIT $7;
