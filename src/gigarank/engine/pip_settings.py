"""Where pip would look for packages on this machine: its environment variables and its configuration files.

Knows pip's rules for the few settings that say where a file comes from; runs no pip, and needs none. Invariant: the order
of precedence is pip's own: global, user, environment folder, PIP_CONFIG_FILE, variables; [install] beats [global].
"""

import configparser
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gigarank.errors import BadFile

_SECTIONS = ("global", "install")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """`indexes` are simple-index URLs, the main one first; `find_links` are folders; `cert` is a file of authorities."""

    indexes: tuple[str, ...]
    find_links: tuple[str, ...]
    cert: str | None


def read_pip_settings() -> PipSettings:
    """Raises BadFile for a configuration file that cannot be parsed, as pip does."""
    values: dict[str, str] = {}
    for path in _config_files():
        values |= _read(path)
    variables = {key[4:]: value for key, value in os.environ.items() if key.startswith("PIP_")}
    values |= {_plain(key): value for key, value in variables.items() if value}
    indexes = [values.get("index-url", "https://pypi.org/simple"), *values.get("extra-index-url", "").split()]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"):
        indexes = []
    return PipSettings(
        indexes=tuple(url.rstrip("/") for url in indexes),
        find_links=tuple(values.get("find-links", "").split()),
        cert=values.get("cert"),
    )


def _plain(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")


def _config_files() -> list[Path]:
    """The files that pip reads, weakest first; PIP_CONFIG_FILE set to the null device switches all of them off."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path.home()
    system = os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path(folder) / "pip" / "pip.conf" for folder in system] + [Path("/etc/pip.conf")]
    if not (named and Path(named).exists()):
        files += [home / ".pip" / "pip.conf", _mac(home) if _mac(home).exists() else user / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    return files + ([Path(named)] if named else [])


def _mac(home: Path) -> Path:
    return home / "Library" / "Application Support" / "pip" / "pip.conf"


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: pip's configuration cannot be read: {error}", received=str(path)) from error
    sections = [section for section in _SECTIONS if parser.has_section(section)]
    return {_plain(key): value.strip() for section in sections for key, value in parser.items(section) if value.strip()}
