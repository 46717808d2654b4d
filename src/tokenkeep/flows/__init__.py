"""What the system does: one use case a file. Each loads, asks `domain`, stores, and returns."""
