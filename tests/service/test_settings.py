"""Settings: where they come from, which source wins, what is refused, and that the page lists them all."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gigarank.errors import BadFile, InvalidInput
from gigarank.service.configuration import SETTINGS, Setting, settings_from, table
from gigarank.service.settings import Settings

ROOT = Path(__file__).parents[2]
VALID: Mapping[type, Any] = {str: "text", int: 321, float: 7.5, bool: True, list: ["a", "b"]}


def valid(setting: Setting) -> Any:
    if setting.kind is bool:
        return not setting.default
    bounded = max(VALID[setting.kind], int(setting.minimum or 0)) if setting.kind is int else VALID[setting.kind]
    return setting.allowed[-1] if setting.allowed else bounded


def as_field(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def as_text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("'", '"')


def toml(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_table_has_every_setting_and_no_other() -> None:
    assert [setting.name for setting in SETTINGS] == [field.name for field in dataclasses.fields(Settings)]


def test_defaults_are_the_settings_own_and_within_their_bounds() -> None:
    found = settings_from({}, {"XDG_STATE_HOME": "/state"})
    assert found == dataclasses.replace(Settings(), state_dir="/state/gigarank")
    for setting in SETTINGS:
        if not isinstance(setting.default, tuple) and setting.default != "":
            settings_from({setting.name: setting.default}, {})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_can_come_from_everywhere_and_the_nearest_source_wins(setting: Setting, tmp_path: Path) -> None:
    value = valid(setting)
    file = toml(tmp_path / "x.toml", f"{setting.name} = {as_toml(value)}\n")
    assert as_field(value) != setting.default
    for flags, environment, path in (
        ({setting.name: value}, {}, None),
        ({}, {setting.variable: as_text(value)}, None),
        ({}, {}, file),
        ({}, {"GIGARANK_CONFIG": str(file)}, None),
    ):
        assert getattr(settings_from(flags, environment, path), setting.name) == as_field(value)


def test_flags_beat_the_environment_and_that_beats_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path / "x.toml", "port = 1\nmax_documents = 1\nmax_headers = 11\n")
    environment = {"GIGARANK_PORT": "2", "GIGARANK_MAX_DOCUMENTS": "2"}
    found = settings_from({"port": 3, "max_documents": None, "models": []}, environment, file)
    assert (found.port, found.max_documents, found.max_headers, found.models) == (3, 2, 11, ("nano",))


def test_a_named_file_beats_the_one_of_the_environment(tmp_path: Path) -> None:
    first, second = toml(tmp_path / "a.toml", "port = 1"), toml(tmp_path / "b.toml", "port = 2")
    assert settings_from({}, {"GIGARANK_CONFIG": str(second)}, first).port == 1


def test_an_empty_variable_is_none_at_all() -> None:
    assert settings_from({}, {"GIGARANK_PORT": "", "GIGARANK_CONFIG": ""}).port == 8000


def test_lists_have_commas_in_the_environment() -> None:
    assert settings_from({}, {"GIGARANK_MODELS": "nano, Qwen/Qwen3-Reranker-0.6B,"}).models == (
        "nano",
        "Qwen/Qwen3-Reranker-0.6B",
    )


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("YES", True), ("on", True), ("0", False), ("False", False)])
def test_truth_has_many_spellings(text: str, expected: bool) -> None:
    assert settings_from({}, {"GIGARANK_METRICS_PUBLIC": text}).metrics_public is expected


def test_state_is_kept_where_the_system_keeps_state() -> None:
    assert settings_from({}, {"GIGARANK_STATE_DIR": "/var/lib/gigarank", "XDG_STATE_HOME": "/x"}).state_dir == (
        "/var/lib/gigarank"
    )
    assert settings_from({}, {}).state_dir == str(Path.home() / ".local/state/gigarank")


def test_keys_kept_in_the_state_directory_count_unless_another_file_is_named(tmp_path: Path) -> None:
    environment = {"GIGARANK_STATE_DIR": str(tmp_path)}
    assert settings_from({}, environment).api_keys_file == ""
    (tmp_path / "keys").write_text("sk-kept")
    assert settings_from({}, environment).api_keys_file == str(tmp_path / "keys")
    assert settings_from({"api_keys_file": "other"}, environment).api_keys_file == "other"


REFUSED = {
    "port": [("70000", "at most 65535"), ("-1", "at least 0"), ("http", "a whole number"), ("8.5", "a whole number")],
    "body_timeout_s": [("0", "at least 0.1"), ("nan", "a number"), ("inf", "a number"), ("soon", "a number")],
    "metrics_public": [("maybe", "true or false")],
    "log_level": [("loud", "one of debug, info, warning, error")],
}


@pytest.mark.parametrize(("name", "text", "expected"), [(n, t, e) for n, rows in REFUSED.items() for t, e in rows])
def test_a_value_out_of_bounds_is_refused_with_the_bound(name: str, text: str, expected: str) -> None:
    variable = f"GIGARANK_{name.upper()}"
    with pytest.raises(InvalidInput, match=f"^{variable}: {expected} is expected; received '{text}'$") as raised:
        settings_from({}, {variable: text})
    assert (raised.value.param, raised.value.received) == (name, text)
    assert raised.value.limit is not None


@pytest.mark.parametrize("value", ['port = "x"', "port = true", "port = [1]", "models = 3", 'models = ["a", ""]', "host = 1"])
def test_a_file_has_types_of_its_own(value: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"x.toml: {value.split(maxsplit=1)[0]}: .* is expected"):
        settings_from({}, {}, toml(tmp_path / "x.toml", value))


def test_a_refused_flag_is_named_as_it_was_written() -> None:
    with pytest.raises(InvalidInput, match=r"^--port: at most 65535"):
        settings_from({"port": 99_999}, {})


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"max_document: no such setting; nearest: max_documents") as raised:
        settings_from({}, {}, toml(tmp_path / "x.toml", "max_document = 3"))
    assert raised.value.received == "max_document"
    with pytest.raises(InvalidInput, match=r"zzz: no such setting$"):
        settings_from({}, {}, toml(tmp_path / "x.toml", "zzz = 3"))


def test_a_variable_that_nearly_is_a_setting_is_refused_and_other_programs_are_not() -> None:
    with pytest.raises(InvalidInput, match="GIGARANK_MAX_DOCUMENT: no such setting; nearest: GIGARANK_MAX_DOCUMENTS"):
        settings_from({}, {"GIGARANK_MAX_DOCUMENT": "3"})
    others = {"GIGARANK_SERVICE_HOST": "10.0.0.1", "GIGARANK_PORT_8000_TCP": "tcp://10.0.0.1:8000", "GIGARANK_CACHE": "/x"}
    settings_from({}, {**others, "GIGARANK_SERVICE_PORT": "8000", "PORT": "x"})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"config: .*none.toml: No such file"):
        settings_from({}, {}, tmp_path / "none.toml")
    with pytest.raises(BadFile, match=r"no TOML: .*line 1, column"):
        settings_from({}, {}, toml(tmp_path / "x.toml", "port = = 3"))
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(BadFile, match="no TOML"):
        settings_from({}, {}, tmp_path / "binary")


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as raised:
        settings_from({}, {}, toml(tmp_path / "x.toml", 'api_keys = "sk-4711"'))
    assert "4711" not in raised.value.message and raised.value.received is None


def test_the_page_lists_what_the_table_holds() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", page, re.DOTALL)
    assert found is not None
    assert found[1].strip() == table(), "python scripts/settings_table.py writes it anew"
    assert all(len(line) <= 128 for line in table().splitlines())
