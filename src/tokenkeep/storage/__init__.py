"""How things are kept: implementations of `flows.ports`."""
