"""Settings: every option (`options`), where values come from (`sources`), and which may not start (`safety`)."""

from tokenkeep.settings.kinds import Secret
from tokenkeep.settings.options import Settings, SettingsError
from tokenkeep.settings.safety import check_clock, check_safety
from tokenkeep.settings.sources import Loaded, load

__all__ = ["Loaded", "Secret", "Settings", "SettingsError", "check_clock", "check_safety", "load"]
