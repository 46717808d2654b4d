-- What sort of hash a password has and what checking it costs: a refused login takes as long as the slowest of them.
-- It is empty where there is no hash, or none that may be checked. Until here all were of one kind.

ALTER TABLE accounts ADD COLUMN password_kind TEXT;

UPDATE accounts SET password_kind = 'argon2id m=19456,t=2,p=1' WHERE password_hash IS NOT NULL;

CREATE INDEX accounts_by_password_kind ON accounts (password_kind);
