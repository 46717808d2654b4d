-- Where a session's login came from. Its address follows its refreshes, and so may become a thief's; only a login makes
-- a place familiar. Of a session that has moved on before this column was, the place of its login is not known.

ALTER TABLE sessions ADD COLUMN login_address TEXT NOT NULL DEFAULT '';

UPDATE sessions SET login_address = address WHERE generation = 0;
