-- An account's sessions that nobody has ended. The others stay for weeks, and may be as many as it has logged in.

CREATE INDEX sessions_unended ON sessions (account_id, last_used_at) WHERE revoked_at IS NULL;
