-- The tables of store/sqlite/credentials/schema.sql; what they mean is said there.
CREATE TABLE api_keys (
  id text COLLATE "C" PRIMARY KEY,
  namespace text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  public_key bytea NOT NULL,
  created_us bigint NOT NULL,
  revoked_us bigint,
  change bigint NOT NULL
);
CREATE UNIQUE INDEX api_keys_change ON api_keys (change);

CREATE TABLE revoked_tokens (
  namespace text COLLATE "C" NOT NULL,
  token text COLLATE "C" NOT NULL,
  forget_us bigint NOT NULL,
  change bigint NOT NULL,
  PRIMARY KEY (namespace, token)
);
CREATE UNIQUE INDEX revoked_tokens_change ON revoked_tokens (change);
CREATE INDEX revoked_tokens_forget ON revoked_tokens (forget_us);
CREATE SEQUENCE revoked_tokens_changes;

CREATE TABLE token_uses (
  namespace text COLLATE "C" NOT NULL,
  token text COLLATE "C" NOT NULL,
  used bigint NOT NULL,
  forget_us bigint NOT NULL,
  PRIMARY KEY (namespace, token)
) WITH (fillfactor = 80);
CREATE INDEX token_uses_forget ON token_uses (forget_us);

CREATE TABLE server_seed (
  no bigint PRIMARY KEY,
  seed bytea NOT NULL
);
