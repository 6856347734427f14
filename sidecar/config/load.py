"""From flags, environment and file to a `Config`: the first of them that names a setting wins.

Everything that is wrong is reported at once, each with where it was written and the rule it breaks. An unknown key is
as wrong as a bad value: a setting that is misspelt would otherwise do nothing, in silence.
"""

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.config import Config, exposure, forms
from sidecar.config.profiles import Profiles

PREFIX = "TOKEN_BUDGET_"
# Read from the environment by tools around the sidecar, not by itself.
NOT_SETTINGS = frozenset({"CONFIG", "URL", "RECORDINGS", "TOKEN_FILE", "CA_FILE", "CLIENT_CERTIFICATE", "CLIENT_KEY"})
# Kubernetes describes each service of a namespace to every pod in it: one that is called token-budget or
# token-budget-sidecar must not stop the pod that serves it.
SERVICE_LINK = re.compile(
    r"TOKEN_BUDGET(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)

# Settings whose default is known at the start only, and what --help says of it.
FOUND_AT_START = {"journal": "journal.db in the user's state folder", "replica": "the host's name"}
SETTINGS: Mapping[str, Field[Any]] = {setting.name: setting for setting in fields(Config)}


class ConfigError(Exception):
    """The settings break these rules: one sentence each."""

    def __init__(self, broken: Sequence[str]) -> None:
        super().__init__("\n".join(broken))
        self.broken = tuple(broken)


class Loaded(NamedTuple):
    """A configuration, and where each setting that is not at its default was written."""

    config: Config
    written: Mapping[str, str]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give the parser `--config` and a flag for each setting."""
    parser.usage = f"{parser.prog} [OPTIONS] [--config FILE] [--SETTING VALUE ...]"  # not two dozen of them
    group = parser.add_argument_group(
        "settings",
        "Each may also be written as TOKEN_BUDGET_<NAME>, or as <name> in the file. Flags win, then the environment. "
        "A DURATION is like 90s, 15m or 24h, a SIZE like 8Mi.",
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    for name, setting in SETTINGS.items():
        meaning, written = setting.metadata["meaning"], setting.metadata["written"]
        argument = group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=written,
            action="append" if setting.metadata["repeat"] else "store",
            help=f"{meaning} (default: {shown(name, setting.default)})".replace("%", "%%"),
        )
        if written == "true|false":
            argument.nargs, argument.const = "?", "true"


def load(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Loaded:
    """Read the settings. `flags` are the parsed arguments, by setting (None: not given), and `config`.

    Raises:
        ConfigError: with every rule that is broken.
    """
    broken: list[str] = []
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    file = flags.get("config") or environment.get(f"{PREFIX}CONFIG")
    for name, label, value in [
        *(_from_file(Path(file), broken) if file else ()),
        *_from_environment(environment, broken),
        *((name, f"--{name.replace('_', '-')}", flags[name]) for name in SETTINGS if flags.get(name) is not None),
    ]:
        try:
            values[name] = SETTINGS[name].metadata["form"](value)
            written[name] = label
        except ValueError as error:
            secret = SETTINGS[name].metadata["secret"]
            broken.append(f"{label} {error}" if secret else f"{label} {error}, not {_quoted(value)}")
    config = Config(**values)
    if not broken and config.idle_after > config.close_after:
        label = written.get("idle_after", "idle_after")
        broken.append(f"{label} must not be longer than close_after, {shown('close_after', config.close_after)}")
    if not broken:
        broken += exposure.broken(config, lambda name: written.get(name, name))
    if broken:
        raise ConfigError(broken)
    return Loaded(config, written)


def _from_file(path: Path, broken: list[str]) -> Iterator[tuple[str, str, Any]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        broken.append(f"{path} cannot be read: {error.strerror or error}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        broken.append(f"{path} is not TOML: {error}")
        return
    for name, value in content.items():
        if name in SETTINGS:
            yield name, f"{path}: {name}", value
        else:
            broken.append(f"{path}: {name} is not a setting{_suggestion(name)}")


def _from_environment(environment: Mapping[str, str], broken: list[str]) -> Iterator[tuple[str, str, Any]]:
    for variable in sorted(environment):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name.lower() in SETTINGS and name.isupper():
            yield name.lower(), variable, environment[variable]
        elif name not in NOT_SETTINGS and not SERVICE_LINK.fullmatch(variable):
            broken.append(f"{variable} is not a setting{_suggestion(name.lower(), PREFIX)}")


def _suggestion(name: str, prefix: str = "") -> str:
    close = get_close_matches(name, SETTINGS, n=1)
    return f" (did you mean {prefix + close[0].upper() if prefix else close[0]}?)" if close else ""


def _quoted(value: Any) -> str:
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    text = forms.masked(value) if isinstance(value, str) and "://" in value else value
    return f'"{text}"' if isinstance(text, str) else str(text)


def shown(name: str, value: Any) -> str:
    """A setting's value as it would be written, secrets masked."""
    form = SETTINGS[name].metadata["written"]
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, forms.HostPort | Profiles):
        return value.text
    if SETTINGS[name].metadata["secret"]:
        return ",".join(f"{header}=***" for header, _ in value) or "none"
    if isinstance(value, tuple):
        return ", ".join(str(getattr(part, "text", part)) for part in value) or "off"
    if form.startswith("DURATION"):
        return _duration(value)
    if form.startswith("SIZE"):
        return _size(value)
    if isinstance(value, int):
        return f"{value:_}"
    if name in FOUND_AT_START and not value:
        return FOUND_AT_START[name]
    return forms.masked(value) if form.startswith("URL") or name == "journal" else str(value)


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"


def _size(number: int) -> str:
    for unit, length in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if number % length == 0:
            return f"{number // length}{unit}"
    return str(number)


def table(loaded: Loaded) -> str:
    """The settings as they would be used: name, value and where it was written."""
    rows = [("setting", "value", "from")]
    for name in SETTINGS:
        value = getattr(loaded.config, {"journal": "journal_url", "replica": "replica_name"}.get(name, name))
        rows.append((name, shown(name, value), loaded.written.get(name, "default")))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {written}" for name, value, written in rows)
