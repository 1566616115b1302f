-- The tables of store/sqlite/schemas/schema.sql; what they mean is said there.
CREATE TABLE schemas (
  namespace text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  digest bytea NOT NULL,
  body bytea NOT NULL,
  at_us bigint NOT NULL,
  PRIMARY KEY (namespace, stream, version)
);

CREATE TABLE schema_settings (
  namespace text COLLATE "C" PRIMARY KEY,
  body bytea NOT NULL
);

CREATE TABLE schema_revision (
  no integer PRIMARY KEY CHECK (no = 1),
  revision bigint NOT NULL
);
