-- When a key ceased to sign, when it was retired or revoked, and when somebody asked that it sign as soon as that is
-- safe. The private part of a key that has ended is not kept; of those that ended before this, nothing is.

ALTER TABLE signing_keys ADD COLUMN deactivated_at BIGINT;

ALTER TABLE signing_keys ADD COLUMN requested_at BIGINT;

ALTER TABLE signing_keys ADD COLUMN ended_at BIGINT;

DELETE FROM signing_keys WHERE state IN ('retired', 'revoked');
