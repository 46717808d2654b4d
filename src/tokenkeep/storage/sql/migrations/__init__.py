"""The schema, as numbered files of statements. A file that has been released is never changed; a new one is added."""
