-- Records on output streams. `offset` is their own order within the run. A key is an attached run's. `bytes_through`
-- counts the bodies up to here, so that the oldest and the newest row tell what all take.
CREATE TABLE IF NOT EXISTS outputs (
  run INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  body BLOB NOT NULL,
  bytes_through INTEGER NOT NULL,
  key TEXT,
  payload_length INTEGER,
  PRIMARY KEY (run, offset)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS outputs_seq ON outputs (run, stream, seq);
CREATE UNIQUE INDEX IF NOT EXISTS outputs_key ON outputs (run, stream, key) WHERE key IS NOT NULL;

-- `no` is the records' `stream`. Its last seq is kept here, since the records go first.
CREATE TABLE IF NOT EXISTS output_streams (
  run INTEGER NOT NULL,
  no INTEGER NOT NULL,
  id TEXT NOT NULL,
  last_seq INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS output_streams_id ON output_streams (run, id);

-- How far each writer has come: a step, or with operation -1 what is outside of steps. See domain/output.py.
CREATE TABLE IF NOT EXISTS output_writers (
  run INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  operation INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  places INTEGER NOT NULL,
  PRIMARY KEY (run, generation, operation)
) STRICT, WITHOUT ROWID;

-- The seqs that the present attempt of a step has appended, until the step has returned.
CREATE TABLE IF NOT EXISTS output_ranges (
  run INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  operation INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (run, generation, operation, stream, first_seq)
) STRICT, WITHOUT ROWID;
