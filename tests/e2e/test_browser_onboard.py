"""A model is onboarded from the browser: real checks, real times and a real evaluation of a small model, and a failure."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from beir_sets import write_set
from browsing import check, opened, picture
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1
from stands import Stand

SMALL = Shape("qwen3", 32, 2, 2, 1, 16, 48, 151_669, True, 1e6, 1e-6, 8_192)
MODEL = "tests/small"
PATH = "/operator/onboard?model=tests%2Fsmall"
LONG_MS = 240_000  # each step is a program that begins by loading torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, and a set of a few questions."""
    write_checkpoint(tmp_path / "small", SMALL, QWEN3_V1)
    write_set(tmp_path / "set")
    return tmp_path


def begin(page: Page, **fields: object) -> None:
    for label, value in fields.items():
        page.locator(f"#f-{label}").fill(str(value))
    page.locator("form.card button").click()


def states(page: Page) -> list[str]:
    return page.locator("#live table .badge").all_inner_texts()


@pytest.mark.slow
def test_a_model_is_onboarded_from_the_page_and_a_failure_is_gone_on_from(browser: Browser, stand: Stand, folder: Path) -> None:
    with opened(browser) as page:
        stand.sign_in(page, "/operator/models")
        page.get_by_label("Another model").fill(MODEL)
        page.get_by_role("button", name="Write it down").click()
        page.get_by_role("link", name=f"Onboard {MODEL}").click()
        expect(page).to_have_url(re.compile("model=tests(/|%2F)small"))
        empty = folder / "empty"
        empty.mkdir()
        begin(page, data=folder / "set", load=empty, limit=2, docs=2)
        expect(page.get_by_text("It runs. What each step finds")).to_be_visible()
        page.goto("about:blank")  # it goes on without anybody who looks
        page.goto(stand.address + PATH)
        expect(page.get_by_text("It ended at a step that failed")).to_be_visible(timeout=LONG_MS)  # renewed by itself
        assert states(page) == ["failed", "waiting", "waiting"]
        expect(page.locator("#live table strong")).to_contain_text("config.json")
        check(page)
        picture(page, "operator-onboard-failed", ("light", 1_200))
        page.reload()
        begin(page, data=folder / "set", load=folder / "small", limit=2, docs=2)
        expect(page.locator("#live .badge.good").first).to_be_visible(timeout=LONG_MS)
        page.reload()  # what was found stays, and it goes on
        assert states(page)[0] == "done"
        expect(page.get_by_text("It is served where a server has it")).to_be_visible(timeout=LONG_MS)
        assert states(page) == ["done", "done", "done"]
        expect(page.locator("#live table")).to_contain_text("ndcg_cut_10")
        check(page)
        picture(page, "operator-onboard-done", ("light", 1_200))
        page.goto(f"{stand.address}/operator/models")
        expect(page.get_by_role("heading", name=f"{MODEL} live")).to_be_visible()
