-- What may be sent on which stream: never changed, never deleted.
CREATE TABLE IF NOT EXISTS schemas (
  namespace TEXT NOT NULL,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest BLOB NOT NULL,
  body BLOB NOT NULL,
  at_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS schemas_version ON schemas (namespace, stream, version);

-- What a namespace does with streams that have no schema.
CREATE TABLE IF NOT EXISTS schema_settings (
  namespace TEXT PRIMARY KEY,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Grows with every change of these two tables.
CREATE TABLE IF NOT EXISTS schema_revision (
  no INTEGER PRIMARY KEY CHECK (no = 1),
  revision INTEGER NOT NULL
) STRICT;
