-- One row a run. `no` is short, never used again, and leads every other key.
-- `id` becomes NULL when retention is over and the rest is being deleted.
CREATE TABLE runs (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  id TEXT,
  task TEXT NOT NULL,
  kind INTEGER NOT NULL,
  state INTEGER NOT NULL,
  spec BLOB NOT NULL,
  digest BLOB NOT NULL,
  outcome BLOB,
  created_us INTEGER NOT NULL,
  started_us INTEGER,
  finished_us INTEGER,
  deadline_us INTEGER,
  cancel_us INTEGER,
  delete_us INTEGER,
  handler_failure_count INTEGER NOT NULL DEFAULT 0,
  -- Of a managed run: its latest assignment, and the log's offset at which its present generation begins.
  epoch INTEGER NOT NULL DEFAULT 0,
  worker INTEGER,
  queued_us INTEGER,
  generation INTEGER NOT NULL DEFAULT 0,
  generation_offset INTEGER NOT NULL DEFAULT 0,
  checkpoint BLOB,
  deaths INTEGER NOT NULL DEFAULT 0,
  deaths_offset INTEGER NOT NULL DEFAULT 0,
  refused_versions TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE UNIQUE INDEX runs_id ON runs (namespace, id);
CREATE INDEX runs_state ON runs (namespace, state);
CREATE INDEX runs_task ON runs (namespace, task, state);
CREATE INDEX runs_queue ON runs (namespace, task, queued_us) WHERE queued_us IS NOT NULL;
CREATE INDEX runs_worker ON runs (worker) WHERE worker IS NOT NULL;

-- Workers with a lease, for all the runs that they have.
CREATE TABLE workers (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  id TEXT NOT NULL,
  lease_until_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX workers_id ON workers (namespace, id);
CREATE INDEX workers_lease ON workers (lease_until_us);

-- The log: one row an entry. The last columns are a record's; an entry that a worker asked for has stream 0 and its
-- operation in the key, so that it is appended once. `bytes_through` counts the payload bytes of its
-- stream up to here, so that the newest row tells all that an append needs and nothing is updated.
CREATE TABLE entries (
  run INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  body BLOB NOT NULL,
  stream INTEGER,
  seq INTEGER,
  key TEXT,
  bytes_through INTEGER,
  payload_length INTEGER,
  PRIMARY KEY (run, offset)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_seq ON entries (run, stream, seq) WHERE stream IS NOT NULL;
CREATE UNIQUE INDEX entries_key ON entries (run, stream, key) WHERE key IS NOT NULL;

-- Under which epochs a managed run was executed; `ending` NULL: it still is.
CREATE TABLE assignments (
  run INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  worker_id TEXT NOT NULL,
  code_version TEXT NOT NULL,
  assigned_us INTEGER NOT NULL,
  ended_us INTEGER,
  ending INTEGER,
  PRIMARY KEY (run, epoch)
) STRICT, WITHOUT ROWID;

-- `no` is the entries' `stream`. The cursor is the last consumed seq; `cursor_bytes` its bytes_through. A record wakes a
-- suspended run where `listening_epoch` is the run's: a claim makes it old, and need not touch it. `replay_cursor`: the cursor with which the present generation began.
CREATE TABLE streams (
  run INTEGER NOT NULL,
  no INTEGER NOT NULL,
  id TEXT NOT NULL,
  cursor INTEGER NOT NULL DEFAULT 0,
  cursor_bytes INTEGER NOT NULL DEFAULT 0,
  holder_epoch INTEGER NOT NULL DEFAULT 0,
  listening_epoch INTEGER NOT NULL DEFAULT 0,
  replay_cursor INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX streams_id ON streams (run, id);

-- What a run waits for, one of a kind.
CREATE TABLE timers (
  run INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  due_us INTEGER NOT NULL,
  PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due_us);

-- The timers of a suspended run's own operations.
CREATE TABLE operation_timers (
  run INTEGER NOT NULL,
  operation INTEGER NOT NULL,
  due_us INTEGER NOT NULL,
  PRIMARY KEY (run, operation)
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_timers_due ON operation_timers (due_us);

-- The newest handler failures of a run; older ones are only counted.
CREATE TABLE handler_failures (
  run INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  handler TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (run, stream, seq, handler)
) STRICT, WITHOUT ROWID;
CREATE INDEX handler_failures_newest ON handler_failures (run, at_us);
