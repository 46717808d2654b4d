-- Which processes serve this database just now: how they find out that they share no Redis. Rows of those that were
-- killed are forgotten by their age. A node is one data directory.

CREATE TABLE server_processes (
    id TEXT NOT NULL PRIMARY KEY,
    node TEXT NOT NULL,
    redis TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);
