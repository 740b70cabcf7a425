#!/bin/sh
# Send events with curl: one alone, several at once, one a line. METERING_URL and METERING_KEY say where to.
set -eu
post() {
  # --retry sends the same body again after 408, 429, 5xx or no connection: ids make that safe.
  curl -sS --fail-with-body --max-time 10 --retry 5 --retry-connrefused --retry-delay 1 \
    -H "Authorization: Bearer $METERING_KEY" "$@" "$METERING_URL/v1/events"
  echo
}
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# One event. Its id names the act, not the attempt: an order, a request, a job.
post -H 'Content-Type: application/cloudevents+json' -d @- <<EVENT
{"specversion": "1.0", "id": "curl-1", "source": "shell", "type": "llm.call", "subject": "acme", "time": "$now",
 "data": {"tokens": 1500, "model": "large", "cost": "0.1"}}
EVENT

# Several at once: the answer has an outcome for each. It is 202 even if some are refused, so read it.
post -H 'Content-Type: application/cloudevents-batch+json' -d @- <<EVENTS
[{"specversion": "1.0", "id": "curl-2", "source": "shell", "type": "llm.call", "subject": "acme", "time": "$now", "data": {"tokens": 20}},
 {"specversion": "1.0", "id": "curl-3", "source": "shell", "type": "llm.call", "subject": "globex", "time": "$now", "data": {"tokens": 30}}]
EVENTS

# One a line, as a file of them is: --data-binary keeps the line ends.
printf '%s\n%s\n' \
  "{\"specversion\": \"1.0\", \"id\": \"curl-4\", \"source\": \"shell\", \"type\": \"llm.call\", \"subject\": \"acme\", \"time\": \"$now\"}" \
  "{\"specversion\": \"1.0\", \"id\": \"curl-5\", \"source\": \"shell\", \"type\": \"llm.call\", \"subject\": \"acme\", \"time\": \"$now\"}" |
  post -H 'Content-Type: application/x-ndjson' --data-binary @-
