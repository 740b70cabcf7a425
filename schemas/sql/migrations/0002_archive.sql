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
