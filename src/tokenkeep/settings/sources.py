"""Where values come from: defaults, then `tokenkeep.toml`, then `TOKENKEEP_*` variables, then flags.

An unknown name is an error in every source: a mistyped setting would otherwise silently keep its default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenkeep.settings.options import OPTIONS, Option, Settings, SettingsError
from tokenkeep.storage.file_access import NotTrusted, read_trusted

DEFAULT_FILE: Final = Path("tokenkeep.toml")
_PREFIX: Final = "TOKENKEEP_"
_FILE_SUFFIX: Final = "_FILE"
CONFIG_VARIABLE: Final = "TOKENKEEP_CONFIG"
"""The variable that names the settings file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and for each that is not a default where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    *, config: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Loaded:
    """Return the settings that the sources add up to.

    Args:
        config: the settings file; by default the one that `TOKENKEEP_CONFIG` names, or `tokenkeep.toml` if it exists.
        environ: the environment.
        flags: option values given on the command line; None means not given.

    Raises:
        SettingsError: a name is unknown, or a value is not allowed.
    """
    environ = environ or {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option, raw, origin in _all(config, environ, flags or {}):
        try:
            values[option.name] = option.kind.parse(_text(raw))
        except ValueError as error:
            raise SettingsError(f"{option.name} ({origin}): {error}") from None
        origins[option.name] = origin
    return Loaded(Settings(**values), origins)


def _all(
    config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Iterator[tuple[Option, object, str]]:
    yield from _from_file(config, environ)
    yield from _from_environment(environ)
    for name, raw in flags.items():
        if raw is not None:
            yield OPTIONS[name], raw, OPTIONS[name].flag


def _from_file(config: Path | None, environ: Mapping[str, str]) -> Iterator[tuple[Option, object, str]]:
    named = config or (Path(environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environ else None)
    path = named or DEFAULT_FILE
    if named is None and not path.exists():
        return
    try:
        # The settings name the secret, the database and who is trusted, and the folder that a command is run in need
        # not be one's own.
        table = tomllib.loads(read_trusted(path))
    except NotTrusted as error:
        raise SettingsError(f"settings file {error}") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    for name, raw in table.items():
        yield _known(name, str(path)), raw, str(path)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Option, object, str]]:
    for variable, raw in environ.items():
        if not variable.startswith(_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        base = name.removesuffix(_FILE_SUFFIX.lower())
        if name not in OPTIONS and base in OPTIONS and OPTIONS[base].kind.secret:
            if OPTIONS[base].variable in environ:
                raise SettingsError(f"{OPTIONS[base].variable} and {variable} are both set; keep one")
            yield OPTIONS[base], _secret_file(variable, Path(raw)), variable
        else:
            yield _known(name, variable), raw, variable


def _secret_file(variable: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        # Its name is not repeated: people give the secret itself where its file is wanted.
        raise SettingsError(f"{variable}: the file that it names cannot be read: {type(error).__name__}") from None


def _text(raw: object) -> object:
    """Return a value as it is; octets that are no text reach a process as surrogates, which nothing could write."""
    if isinstance(raw, str) and any("\ud800" <= character <= "\udfff" for character in raw):
        raise ValueError("expected UTF-8 text")
    return raw


def _known(name: str, origin: str) -> Option:
    if name in OPTIONS:
        return OPTIONS[name]
    close = difflib.get_close_matches(name, OPTIONS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    if name.startswith(("service_", "port_")):
        hint = "; Kubernetes sets it for a Service named tokenkeep: set enableServiceLinks to false"
    raise SettingsError(f"unknown setting {name} ({origin}){hint}")
