-- The tables of store/sqlite/outputs/schema.sql; what they mean is said there.
CREATE TABLE outputs (
  run bigint NOT NULL,
  output_offset bigint NOT NULL,
  stream bigint NOT NULL,
  seq bigint NOT NULL,
  at_us bigint NOT NULL,
  body bytea NOT NULL,
  bytes_through bigint NOT NULL,
  key text COLLATE "C",
  payload_length bigint,
  PRIMARY KEY (run, output_offset)
);
-- Seqs and offsets of a stream grow together: readers find their place by the offset.
CREATE UNIQUE INDEX outputs_stream ON outputs (run, stream, output_offset);
CREATE UNIQUE INDEX outputs_key ON outputs (run, stream, key) WHERE key IS NOT NULL;
ALTER TABLE outputs ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE output_streams (
  run bigint NOT NULL,
  no bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  last_seq bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (run, no)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX output_streams_id ON output_streams (run, id);

CREATE TABLE output_writers (
  run bigint NOT NULL,
  generation bigint NOT NULL,
  operation bigint NOT NULL,
  epoch bigint NOT NULL,
  attempt bigint NOT NULL,
  places bigint NOT NULL,
  PRIMARY KEY (run, generation, operation)
) WITH (fillfactor = 80);

CREATE TABLE output_ranges (
  run bigint NOT NULL,
  generation bigint NOT NULL,
  operation bigint NOT NULL,
  stream bigint NOT NULL,
  first_seq bigint NOT NULL,
  last_seq bigint NOT NULL,
  PRIMARY KEY (run, generation, operation, stream, first_seq)
) WITH (fillfactor = 80);

-- Two kinds of timers end a retention now: 4 a run's, 7 its output records'.
DROP INDEX timers_due;
DROP INDEX timers_retention;
CREATE INDEX timers_due ON timers (due_us) WHERE kind NOT IN (4, 7);
CREATE INDEX timers_retention ON timers (due_us) WHERE kind IN (4, 7);
