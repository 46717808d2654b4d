-- Instants are milliseconds since the epoch, UTC. Ids are 22 characters of base64url.

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password_hash TEXT,
    token_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_login_at BIGINT,
    disabled_at BIGINT
);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    secret BYTEA NOT NULL,
    secret_version TEXT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    previous_rotated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    delivery TEXT NOT NULL,
    methods TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    address TEXT NOT NULL,
    revoked_at BIGINT,
    revoked_reason TEXT
);

CREATE INDEX sessions_by_account ON sessions (account_id, last_used_at);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    activated_at BIGINT
);

-- Two processes that make a key at once end with one: there is one key that signs and one that follows it.
CREATE UNIQUE INDEX signing_keys_one_of_each ON signing_keys (state) WHERE state IN ('active', 'upcoming');

-- Rows refer to nothing, so that they outlive what they revoke.
CREATE TABLE revocations (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    version BIGINT,
    revoked_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL
);

CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- One row: the name of this history, the number of its last revocation, and the longest access-token life ever
-- configured here. The name is empty until the database is first served.
CREATE TABLE revocation_head (
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL,
    longest_access_life BIGINT NOT NULL
);

INSERT INTO revocation_head (epoch, number, longest_access_life) VALUES ('', 0, 0);

CREATE TABLE audit_events (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    account_id TEXT,
    session_id TEXT,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX audit_events_by_time ON audit_events (at, id);
