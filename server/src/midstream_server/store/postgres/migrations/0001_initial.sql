-- The tables of store/sqlite/schema.sql; what they mean is said there. Every key leads with the run.
-- Keys are compared byte by byte, as on SQLite.
CREATE TABLE runs (
  no bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  namespace text COLLATE "C" NOT NULL,
  id text COLLATE "C",
  task text COLLATE "C" NOT NULL,
  kind smallint NOT NULL,
  state smallint NOT NULL,
  spec bytea NOT NULL,
  digest bytea NOT NULL,
  outcome bytea,
  created_us bigint NOT NULL,
  started_us bigint,
  finished_us bigint,
  deadline_us bigint,
  cancel_us bigint,
  delete_us bigint,
  handler_failure_count bigint NOT NULL DEFAULT 0,
  epoch bigint NOT NULL DEFAULT 0,
  worker bigint,
  queued_us bigint,
  generation bigint NOT NULL DEFAULT 0,
  generation_offset bigint NOT NULL DEFAULT 0,
  checkpoint bytea,
  deaths bigint NOT NULL DEFAULT 0,
  deaths_offset bigint NOT NULL DEFAULT 0,
  refused_versions text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX runs_id ON runs (namespace, id);
CREATE INDEX runs_state ON runs (namespace, state, no);
CREATE INDEX runs_task ON runs (namespace, task, state, no);
CREATE INDEX runs_queue ON runs (namespace, task, queued_us, no) WHERE queued_us IS NOT NULL;
CREATE INDEX runs_worker ON runs (worker) WHERE worker IS NOT NULL;

-- `tasks` maps the names of the worker's tasks to its code versions: other replicas look at it too.
CREATE TABLE workers (
  no bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  namespace text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  lease_until_us bigint NOT NULL,
  tasks jsonb NOT NULL
);
CREATE UNIQUE INDEX workers_id ON workers (namespace, id);
CREATE INDEX workers_lease ON workers (lease_until_us);

CREATE TABLE entries (
  run bigint NOT NULL,
  log_offset bigint NOT NULL,
  kind smallint NOT NULL,
  at_us bigint NOT NULL,
  body bytea NOT NULL,
  stream bigint,
  seq bigint,
  key text COLLATE "C",
  bytes_through bigint,
  payload_length bigint,
  PRIMARY KEY (run, log_offset)
);
CREATE UNIQUE INDEX entries_seq ON entries (run, stream, seq) WHERE seq IS NOT NULL;
CREATE UNIQUE INDEX entries_key ON entries (run, stream, key) WHERE key IS NOT NULL;
-- Payloads are not compressed: a retry is compared with a part of the body, and senders that care compress themselves.
ALTER TABLE entries ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE assignments (
  run bigint NOT NULL,
  epoch bigint NOT NULL,
  worker_id text COLLATE "C" NOT NULL,
  code_version text COLLATE "C" NOT NULL,
  assigned_us bigint NOT NULL,
  ended_us bigint,
  ending smallint,
  PRIMARY KEY (run, epoch)
);

CREATE TABLE streams (
  run bigint NOT NULL,
  no bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  cursor bigint NOT NULL DEFAULT 0,
  cursor_bytes bigint NOT NULL DEFAULT 0,
  holder_epoch bigint NOT NULL DEFAULT 0,
  listening_epoch bigint NOT NULL DEFAULT 0,
  replay_cursor bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (run, no)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX streams_id ON streams (run, id);

CREATE TABLE timers (
  run bigint NOT NULL,
  kind smallint NOT NULL,
  due_us bigint NOT NULL,
  PRIMARY KEY (run, kind)
);
-- Retention is taken by itself, and may be far behind.
CREATE INDEX timers_due ON timers (due_us) WHERE kind <> 4;
CREATE INDEX timers_retention ON timers (due_us) WHERE kind = 4;

CREATE TABLE operation_timers (
  run bigint NOT NULL,
  operation bigint NOT NULL,
  due_us bigint NOT NULL,
  PRIMARY KEY (run, operation)
);
CREATE INDEX operation_timers_due ON operation_timers (due_us);

CREATE TABLE handler_failures (
  run bigint NOT NULL,
  stream bigint NOT NULL,
  seq bigint NOT NULL,
  handler text COLLATE "C" NOT NULL,
  at_us bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (run, stream, seq, handler)
);
CREATE INDEX handler_failures_newest ON handler_failures (run, at_us);
