"""The page on capacity says what its commands print, to the last digit: the simulation is seeded."""

import re
import shlex
from pathlib import Path

import pytest

from gigarank import cli
from gigarank.cli import failures

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"
SHOWN = re.compile(r"(?<!-->\n)```bash\n(gigarank plan [^`]*?)\n```\n\n```text\n(.*?)\n```", re.S)
BLOCKS = SHOWN.findall(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_a_million_requests_and_a_billion_documents() -> None:
    assert len(BLOCKS) == 5
    rates = [float(re.findall(r"--rate (\S+)", command)[0]) for command, _ in BLOCKS]
    documents = [int(re.findall(r"--documents (\S+)", command)[0]) for command, _ in BLOCKS]
    assert rates[0] * 86_400 == pytest.approx(1e6, rel=0.01)
    assert rates[2] * documents[2] * 86_400 == pytest.approx(1e9, rel=0.01)


@pytest.mark.parametrize(("command", "printed"), BLOCKS, ids=range(len(BLOCKS)))
def test_a_command_prints_and_draws_what_the_page_shows(
    command: str, printed: str, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("\\\n", " "))
    assert failures.run(cli.app, words[1:]) == 0
    assert capfdbinary.readouterr().out.decode().rstrip() == printed
    for drawn in tmp_path.iterdir():
        assert f"](images/{drawn.name})" in PAGE.read_text(encoding="utf-8")
        assert labels(drawn) == labels(PAGE.parent / "images" / drawn.name)


def labels(drawing: Path) -> list[str]:
    """What stands at the axes and in the legends: other figures have others, another version of the library has not."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.read_text(encoding="utf-8"))


def test_the_page_has_a_drawing_of_each_load() -> None:
    drawn = {number: re.findall(r"--plot (\S+)", command) for number, (command, _) in enumerate(BLOCKS)}
    assert {number: names for number, names in drawn.items() if names} == {0: ["plan-million.svg"], 3: ["plan-billion.svg"]}
