"""The rules, as frozen dataclasses and plain functions: no waiting, no clock, no randomness, no logging."""
