"""The command line: one file per noun, thin commands over `AuthServer` and its flows."""

from tokenkeep.cli.main import main

__all__ = ["main"]
