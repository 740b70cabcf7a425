-- The database of the engine. `migrations/` leads here step by step; a test proves that both give one database.
-- Instants are timestamptz in UTC; quantities and money are numeric; keys compare bytewise (COLLATE "C");
-- documents are json, not jsonb, because the order of charges and dimensions matters.

-- What is set once for an installation: number of partitions, name of the log, the settable clock.
CREATE TABLE setting (
    key   text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- Access: a key is shown once, only its hash is kept.
CREATE TABLE api_key (
    id         text COLLATE "C" PRIMARY KEY,
    hash       bytea NOT NULL UNIQUE,
    scopes     text[] NOT NULL,
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- Catalog: meters, and plans in versions that never change. `json`, not `jsonb`: the order of charges and dimensions counts.
CREATE TABLE meter (
    key        text COLLATE "C" PRIMARY KEY,
    definition json NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE plan (
    key        text COLLATE "C" NOT NULL,
    version    integer NOT NULL CHECK (version >= 1),
    definition json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (key, version)
);

-- Accounts: a customer, and what was done to its account, in order. Subscriptions are derived from the acts.
CREATE TABLE customer (
    key        text COLLATE "C" PRIMARY KEY,
    partition  integer NOT NULL,
    definition json NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE act (
    customer text COLLATE "C" NOT NULL REFERENCES customer (key),
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL,
    kind     text NOT NULL,
    id       text COLLATE "C",
    body     json NOT NULL,
    PRIMARY KEY (customer, sequence)
);
-- An id given by the client names one subscription, and per customer one grant, coupon or one-off charge.
CREATE UNIQUE INDEX act_subscription ON act (id) WHERE kind = 'subscribe';
CREATE UNIQUE INDEX act_id ON act (customer, kind, id) WHERE id IS NOT NULL AND kind <> 'subscribe';

CREATE TABLE subscription (
    id         text COLLATE "C" PRIMARY KEY,
    customer   text COLLATE "C" NOT NULL REFERENCES customer (key),
    plan       text COLLATE "C" NOT NULL,
    version    integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX subscription_customer ON subscription (customer, id);

-- The scheduler's work list: the next instant at which a customer's account has an invoice to issue.
CREATE TABLE due (
    customer text COLLATE "C" PRIMARY KEY REFERENCES customer (key),
    at       timestamptz NOT NULL
);
CREATE INDEX due_at ON due (at, customer);

-- The stream: one row a partition is fence, progress and lock of all that its customers owe.
CREATE TABLE partition_state (
    partition       integer PRIMARY KEY,
    log_id          text NOT NULL,
    owner           text NOT NULL DEFAULT '',
    epoch           bigint NOT NULL DEFAULT 0,
    next_offset     bigint NOT NULL DEFAULT 0,
    catalog_version bigint NOT NULL DEFAULT 0
);

-- Identities: a row per checkpoint; `keys` holds sorted entries of 32 bytes:
-- identity (16), hash of the raw event (8), offset * 2^20 + index in its message (8).
CREATE TABLE seen (
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    expires_at   timestamptz NOT NULL,
    count        integer NOT NULL,
    keys         bytea NOT NULL,
    PRIMARY KEY (partition, first_offset, expires_at)
);
ALTER TABLE seen ALTER COLUMN keys SET STORAGE EXTERNAL;

-- How many events of a partition ended how.
CREATE TABLE outcome (
    partition integer NOT NULL,
    code      text NOT NULL,
    events    bigint NOT NULL,
    PRIMARY KEY (partition, code)
);

-- Usage in buckets of an hour or less. `dimensions` is a JSON array of the values in the order of the meter's dimension names;
-- `named` is the subscription that the events name, or empty; the offsets are the range in which the bucket's events lie.
CREATE TABLE usage (
    customer     text COLLATE "C" NOT NULL,
    meter        text COLLATE "C" NOT NULL,
    bucket       timestamptz NOT NULL,
    dimensions   text COLLATE "C" NOT NULL,
    named        text COLLATE "C" NOT NULL,
    quantity     numeric NOT NULL CHECK (quantity > '-Infinity' AND quantity < 'Infinity'),
    events       bigint NOT NULL,
    first_offset bigint NOT NULL,
    last_offset  bigint NOT NULL,
    PRIMARY KEY (customer, meter, bucket, dimensions, named)
);

-- What is owed so far: a rated total per charge segment and combination. The amount is numerator / divisor, exact.
CREATE TABLE accrual (
    customer      text COLLATE "C" NOT NULL,
    subscription  text COLLATE "C" NOT NULL,
    charge        text COLLATE "C" NOT NULL,
    segment_start timestamptz NOT NULL,
    segment_end   timestamptz NOT NULL,
    dimensions    text COLLATE "C" NOT NULL,
    events        bigint NOT NULL,
    quantity      numeric NOT NULL CHECK (quantity > '-Infinity' AND quantity < 'Infinity'),
    numerator     numeric NOT NULL CHECK (numerator > '-Infinity' AND numerator < 'Infinity'),
    divisor       numeric NOT NULL CHECK (divisor > 0 AND divisor < 'Infinity'),
    PRIMARY KEY (customer, subscription, charge, segment_start, dimensions)
);

-- What was refused after it had arrived, with its place in the log and its bytes.
CREATE TABLE rejected (
    partition   integer NOT NULL,
    log_offset  bigint NOT NULL,
    index       integer NOT NULL,
    meter       text COLLATE "C" NOT NULL,
    code        text NOT NULL,
    reason      text NOT NULL,
    received_at timestamptz NOT NULL,
    customer    text COLLATE "C",
    source      text,
    event_id    text,
    payload     bytea NOT NULL,
    PRIMARY KEY (partition, log_offset, index, meter)
);

-- The log for those who run no Kafka: one row a message, offsets in the order of commits.
CREATE TABLE log_partition (
    partition   integer PRIMARY KEY,
    next_offset bigint NOT NULL DEFAULT 0
);

CREATE TABLE log_message (
    partition   integer NOT NULL,
    log_offset  bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    headers     jsonb NOT NULL,
    payload     bytea NOT NULL,
    PRIMARY KEY (partition, log_offset)
);
ALTER TABLE log_message ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Invoices: a draft has no lines of its own, it is computed when read; a final one never changes.
CREATE TABLE seller (
    key         text COLLATE "C" PRIMARY KEY,
    last_number bigint NOT NULL DEFAULT 0
);
INSERT INTO seller (key) VALUES ('default');

CREATE TABLE invoice (
    id           text COLLATE "C" PRIMARY KEY,
    customer     text COLLATE "C" NOT NULL REFERENCES customer (key),
    subscription text COLLATE "C",
    currency     text NOT NULL,
    status       text NOT NULL CHECK (status IN ('draft', 'final')),
    seller       text COLLATE "C" NOT NULL REFERENCES seller (key),
    number       bigint CHECK ((number IS NULL) = (status = 'draft')),
    issued_at    timestamptz NOT NULL,
    finalize_at  timestamptz NOT NULL,
    finalized_at timestamptz,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    subtotal     numeric,
    tax          numeric,
    credits      numeric,
    total        numeric,
    due          numeric,
    detail       json
);
CREATE UNIQUE INDEX invoice_number ON invoice (seller, number);
CREATE INDEX invoice_customer ON invoice (customer, issued_at, id);
CREATE INDEX invoice_draft ON invoice (finalize_at, customer) WHERE status = 'draft';

CREATE TABLE invoice_line (
    invoice      text COLLATE "C" NOT NULL REFERENCES invoice (id),
    position     integer NOT NULL,
    charge       text COLLATE "C",
    kind         text NOT NULL,
    quantity     text,
    amount       numeric NOT NULL,
    dimensions   json NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    note         text,
    unpriced     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (invoice, position)
);

-- Final is for ever: the database refuses what habit should not have to.
CREATE FUNCTION final_is_for_ever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a final invoice cannot be changed: correct it with the next invoice';
END $$;

CREATE TRIGGER invoice_final BEFORE UPDATE OR DELETE ON invoice
    FOR EACH ROW WHEN (OLD.status = 'final') EXECUTE FUNCTION final_is_for_ever();

CREATE FUNCTION line_of_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM invoice WHERE id = OLD.invoice AND status = 'final') THEN
        RAISE EXCEPTION 'the lines of a final invoice cannot be changed';
    END IF;
    RETURN COALESCE(NEW, OLD);
END $$;

CREATE TRIGGER invoice_line_final BEFORE UPDATE OR DELETE ON invoice_line
    FOR EACH ROW EXECUTE FUNCTION line_of_final();

-- The archive: how far each partition of a log is archived, from its first offset on. The end of a cut is recorded in
-- `cut_offset` before its files are written, so that whoever goes on after a crash writes the same files.
CREATE TABLE archive_state (
    log_id       text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    cut_offset   bigint CHECK (cut_offset > next_offset),
    cut_by       text NOT NULL DEFAULT '',
    PRIMARY KEY (log_id, partition)
);

-- Its files: the events of one day (of their time, UTC) in a cut or in several cuts that were merged.
CREATE TABLE archive_file (
    log_id       text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    day          date NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    path         text COLLATE "C" NOT NULL UNIQUE,
    events       bigint NOT NULL,
    PRIMARY KEY (log_id, partition, day, first_offset)
);

-- From which offset of a partition on a meter counts as it is defined; without a row: as it is now, from the beginning.
CREATE TABLE meter_since (
    meter        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    first_offset bigint NOT NULL,
    definition   json NOT NULL,
    PRIMARY KEY (meter, partition, first_offset)
);
