"""pip's variables and files: which win, and that pip itself reads them the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from gigarank.engine.pip_settings import read_pip_settings
from gigarank.errors import BadFile


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and system folder of the test's own; the machine's /etc/pip.conf, where there is one, names no index here."""
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "CERT", "CONFIG_FILE"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def test_without_any_setting_it_is_the_public_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    settings = read_pip_settings()
    assert (settings.indexes, settings.find_links, settings.cert) == (("https://pypi.org/simple",), (), None)


def test_later_places_win_over_earlier_ones(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    places = [home / "system/pip/pip.conf", home / ".pip/pip.conf", home / "config/pip/pip.conf"]
    for path in places:
        write(path, f"[global]\nindex-url = https://{path.parent.parent.name}/simple\n")
        seen.append(read_pip_settings().indexes[0])
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable/simple/")
    assert [*seen, read_pip_settings().indexes[0]] == [
        "https://system/simple",
        f"https://{home.name}/simple",
        "https://config/simple",
        "https://variable/simple",
    ]


def test_a_named_file_replaces_the_users_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "config/pip/pip.conf", "[global]\nindex-url = https://user/simple\nextra-index-url = https://more/simple\n")
    write(home / "named.conf", "[global]\nindex-url = https://named/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(home / "named.conf"))
    assert read_pip_settings().indexes == ("https://named/simple",)


def test_the_install_section_beats_the_global_one(home: Path) -> None:
    write(home / ".pip/pip.conf", "[install]\nindex_url = https://install/simple\n[global]\nindex-url = https://global/s\n")
    assert read_pip_settings().indexes == ("https://install/simple",)


def test_lists_are_split_and_an_empty_variable_counts_as_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".pip/pip.conf", "[global]\nextra-index-url =\n    https://a/simple\n    https://b/simple/\n")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels file:///more")
    monkeypatch.setenv("PIP_CERT", "/authorities.pem")
    settings = read_pip_settings()
    assert settings.indexes == ("https://pypi.org/simple", "https://a/simple", "https://b/simple")
    assert settings.find_links == ("/wheels", "file:///more")
    assert settings.cert == "/authorities.pem"


def test_no_index_leaves_folders_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    settings = read_pip_settings()
    assert (settings.indexes, settings.find_links) == ((), ("/wheels",))


def test_a_broken_file_is_named(home: Path) -> None:
    write(home / ".pip/pip.conf", "index-url = before any section\n")
    with pytest.raises(BadFile, match=r"\.pip/pip\.conf"):
        read_pip_settings()


def test_pip_itself_agrees(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "system/pip/pip.conf", "[global]\nindex-url = https://system/simple\n")
    write(home / ".pip/pip.conf", "[global]\nindex-url = https://legacy/simple\n")
    write(home / "config/pip/pip.conf", "[global]\nindex-url = https://user/simple\n")
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in asked.stderr:
        pytest.skip("pip is not installed here")
    assert asked.stdout.strip() == read_pip_settings().indexes[0] == "https://user/simple"
