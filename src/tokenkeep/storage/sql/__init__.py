"""The SQL stores: plain statements on SQLite or PostgreSQL, through one seam (`database`)."""
