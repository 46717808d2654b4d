-- What each process that serves this database was told, where all of them should have been told the same. NULL: by a
-- version that does not say.

ALTER TABLE server_processes ADD COLUMN issuer TEXT;

ALTER TABLE server_processes ADD COLUMN signing_algorithm TEXT;
