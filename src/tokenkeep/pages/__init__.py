"""What browsers are given: files that are served as they are, without a build step or anything of third parties."""

from importlib.resources import files
from typing import Final

__all__ = ["BROWSER_CLIENT"]

BROWSER_CLIENT: Final = files(__name__).joinpath("tokenkeep.js").read_bytes()
"""The browser client, an ECMAScript module in UTF-8."""
