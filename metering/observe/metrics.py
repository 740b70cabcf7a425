"""Every metric of the engine, one place; labels only from closed lists (and partitions), never from customers.

Names follow the flow: `metering_<step>_<what>_<unit>`; `docs/reference/metrics.md` lists them all.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS = (1, 10, 100, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)

INGEST_EVENTS = Counter(
    "metering_ingest_events", "Events that the gateway answered, by outcome", ["outcome"], registry=REGISTRY
)
INGEST_SECONDS = Histogram(
    "metering_ingest_seconds", "From a request's last byte to its answer", registry=REGISTRY, buckets=_SECONDS
)
STREAM_EVENTS = Counter("metering_stream_events", "Events committed, by outcome", ["outcome"], registry=REGISTRY)
STREAM_LAG = Gauge(
    "metering_stream_lag_messages", "Messages in the log that are not committed", ["partition"], registry=REGISTRY
)
STREAM_AGE = Gauge(
    "metering_stream_lag_seconds", "Age of the last message committed when it was", ["partition"], registry=REGISTRY
)
STREAM_STAGE_SECONDS = Histogram(
    "metering_stream_stage_seconds", "Time in a stage of a checkpoint", ["stage"], registry=REGISTRY, buckets=_SECONDS
)
STREAM_CHECKPOINT_EVENTS = Histogram(
    "metering_stream_checkpoint_events", "Events in a checkpoint", registry=REGISTRY, buckets=_COUNTS
)
STREAM_CHECKPOINTS = Counter(
    "metering_stream_checkpoints",
    "Checkpoints by result: committed, rated_again, looked_up, retried, fenced",
    ["result"],
    registry=REGISTRY,
)
STREAM_FORWARDED = Counter(
    "metering_stream_forwarded_events", "Events found on a partition that is not their customer's", registry=REGISTRY
)
STREAM_REBALANCES = Counter("metering_stream_rebalances", "Partitions gained or lost", ["change"], registry=REGISTRY)
STREAM_STOPPED = Gauge(
    "metering_stream_stopped",
    "1 while a partition is stopped and waits for an operator",
    ["partition"],
    registry=REGISTRY,
)
DEDUP_IDENTITIES = Gauge("metering_dedup_identities", "Identities remembered", ["partition"], registry=REGISTRY)
USAGE_BUCKETS = Counter("metering_usage_buckets", "Buckets written", registry=REGISTRY)
RATER_TOTALS = Counter("metering_rater_totals", "Rated totals written", registry=REGISTRY)
RATER_UNPRICED = Counter(
    "metering_rater_unpriced_totals", "Rated totals whose value has no price: a hole in a plan", registry=REGISTRY
)
INVOICES = Counter("metering_invoices", "Invoices by what happened to them", ["status"], registry=REGISTRY)
INVOICES_WAITING = Gauge(
    "metering_invoices_waiting", "Drafts past their grace that wait for the stream to catch up", registry=REGISTRY
)
ARCHIVE_EVENTS = Counter("metering_archive_events", "Events written to the archive", registry=REGISTRY)
ARCHIVE_LAG = Gauge(
    "metering_archive_lag_messages", "Messages committed but not archived", ["partition"], registry=REGISTRY
)
ARCHIVE_MARGIN = Gauge(
    "metering_archive_margin_messages",
    "Messages archived that the log still holds: how far the archive is ahead of retention",
    ["partition"],
    registry=REGISTRY,
)
ARCHIVE_FAILURES = Counter(
    "metering_archive_failures",
    "Times the archive could not be written, or the log had dropped events",
    registry=REGISTRY,
)
ARCHIVE_DRIFT = Gauge(
    "metering_archive_drift",
    "Buckets and totals that differed from what the archive gives, when they were last checked",
    ["partition"],
    registry=REGISTRY,
)
ARCHIVE_MERGED = Counter("metering_archive_merged_files", "Small files that were merged into others", registry=REGISTRY)
API_SECONDS = Histogram(
    "metering_api_seconds", "From request to answer, by route", ["route"], registry=REGISTRY, buckets=_SECONDS
)
API_REQUESTS = Counter("metering_api_requests", "Requests by route and status", ["route", "status"], registry=REGISTRY)
