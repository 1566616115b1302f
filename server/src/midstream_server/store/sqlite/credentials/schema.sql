-- API keys: nothing here lets anyone in. `change` grows with every key that is added or revoked.
CREATE TABLE IF NOT EXISTS api_keys (
  id TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  public_key BLOB NOT NULL,
  created_us INTEGER NOT NULL,
  revoked_us INTEGER,
  change INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS api_keys_change ON api_keys (change);

-- Access tokens that are good no more, and how often those with a number of uses were used. `forget_us`: when the token
-- would have expired.
CREATE TABLE IF NOT EXISTS revoked_tokens (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  token TEXT NOT NULL,
  forget_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS revoked_tokens_token ON revoked_tokens (namespace, token);
CREATE INDEX IF NOT EXISTS revoked_tokens_forget ON revoked_tokens (forget_us);
CREATE TABLE IF NOT EXISTS token_uses (
  no INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  token TEXT NOT NULL,
  used INTEGER NOT NULL,
  forget_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS token_uses_token ON token_uses (namespace, token);
CREATE INDEX IF NOT EXISTS token_uses_forget ON token_uses (forget_us);

-- Signs access tokens for as long as there are no API keys.
CREATE TABLE IF NOT EXISTS server_seed (
  no INTEGER PRIMARY KEY,
  seed BLOB NOT NULL
) STRICT;
