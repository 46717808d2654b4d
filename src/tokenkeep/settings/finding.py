"""What a rule about settings found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: the rule's name.
        ok: whether the settings may be served with.
        found: what is so.
        fix: what to do about it, with the setting that overrides the rule where there is one.
        overridden: the override that lets an unsafe setting pass; it is logged at each start.
    """

    rule: str
    ok: bool
    found: str
    fix: str = ""
    overridden: str | None = None


def overridable(rule: str, found: str, fix: str, override: tuple[str, bool]) -> Finding:
    """Return what a rule finds that a setting may let pass; `override` is its name and whether it is given."""
    name, given = override
    return Finding(rule, given, found, f"{fix} (or {name})", name if given else None)
