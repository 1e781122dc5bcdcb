"""The documentation hangs together: links lead somewhere, every page can be reached, and no page names what is not there."""

import re
from pathlib import Path

import pytest

from gigarank import __version__, prompt
from gigarank.catalogue import MODELS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.M | re.S)
PATH = re.compile(r"`((?:src|tests|docs|scripts|examples)/[\w./-]+|\.ci/run|Makefile|pyproject\.toml)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def local_links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of every link that stays in the repository."""
    links = [link for link in LINK.findall(prose(page)) if "://" not in link]
    return [((page.parent / name).resolve() if name else page, anchor) for name, _, anchor in (x.partition("#") for x in links)]


def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pages
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target, anchor in local_links(page):
        assert target.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {target.name}#{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            waiting += [target for target, _ in local_links(page)]
    assert reached >= set(PAGES)


@pages
def test_paths_in_prose_exist(page: Path) -> None:
    for path in PATH.findall(prose(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@pages
def test_a_page_has_one_title_and_no_long_lines(page: Path) -> None:
    text = prose(page)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.M)) == 1
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 128


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_models_page_lists_every_model_with_its_repository() -> None:
    rows = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for model in MODELS:
        (row,) = (row for row in rows if row.startswith(f"| `{model.name}` |"))
        assert model.repository in row
        assert f"{model.parameters:,}" in row
        assert f"`{model.prompt}`" in row


def test_the_prompt_page_shows_the_formats_as_they_are() -> None:
    page = (ROOT / "docs" / "prompt.md").read_text(encoding="utf-8")
    shown = prompt.QWEN3_V1.render(prompt.WEB_SEARCH, "{query}", "{document}").rstrip("\n")
    assert f"```text\n{shown}\n" in page
    assert {f"`{format_id}`" for format_id in prompt.FORMATS} <= set(re.findall(r"`[^`\n]+`", page))


def test_decisions_are_numbered_without_a_gap_dated_and_in_sections() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        text = page.read_text(encoding="utf-8")
        assert re.match(rf"# {page.name[:4]}: .*\n\n\d{{4}}-\d\d-\d\d, accepted\n", text), page.name
        assert len(re.findall(r"^## ", text, re.M)) >= 3, page.name
