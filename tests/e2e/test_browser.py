"""The pages in a real browser: every one of them light, dark and on a phone, and what people do with them.

With GIGARANK_SCREENSHOTS=FOLDER each page's picture is written there (`make screenshots`).
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import MOST_BYTES, check, opened, picture, weight
from gigarank.service.web import docs_text
from people import PASSWORD
from stands import Stand

PAGES = (
    "/",
    "/models",
    "/models?first=nano&second=qwen3-reranker-8b",
    "/models/nano",
    "/models/qwen3-reranker-8b",
    "/models/qwen3-embedding-0.6b",
    "/playground",
    "/status",
    "/docs",
    "/docs?q=how+are+sessions+kept",
    "/docs/api",
    "/nothing/here",
)
LOOKS = (("light", 1_200), ("dark", 390))


@pytest.fixture(scope="module")
def address(stand: Stand) -> str:
    return stand.address


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_for_everybody_and_light(browser: Browser, address: str, path: str) -> None:
    for look in LOOKS:
        with opened(browser, *look) as page:
            page.goto(address + path)
            check(page)
            assert weight(page) < MOST_BYTES
            picture(page, path, look)


def test_every_page_of_the_documentation_keeps_within_the_window(browser: Browser, address: str) -> None:
    with opened(browser, width=390) as page:
        for name in docs_text.names():
            page.goto(f"{address}/docs/{name}")
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, name


def test_the_theme_is_switched_and_kept(page: Page, address: str) -> None:
    page.goto(f"{address}/models")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    after = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert after != before
    page.goto(f"{address}/docs")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == after
    check(page)


def test_the_keyboard_skips_to_the_content(page: Page, address: str) -> None:
    page.goto(f"{address}/models")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_clients_are_tabs_that_the_keyboard_moves_through(page: Page, address: str) -> None:
    page.goto(f"{address}/models/nano")
    page.get_by_role("tab", name="cohere").click()
    expect(page.locator("#code-cohere pre")).to_contain_text("cohere.ClientV2")
    expect(page.locator("#code-curl")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="LangChain")).to_be_focused()
    expect(page.locator("#code-langchain")).to_be_visible()
    check(page)


def test_code_is_copied(browser: Browser, address: str) -> None:
    with opened(browser) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        page.goto(f"{address}/models/nano")
        page.locator("#code-curl").get_by_role("button", name="Copy").click()
        expect(page.locator("#code-curl").get_by_role("button", name="Copied")).to_be_visible()
        assert "/v1/rerank" in page.evaluate("() => navigator.clipboard.readText()")


def fill(page: Page, address: str, query: str, documents: str) -> None:
    page.goto(f"{address}/playground")
    page.get_by_label("Query").fill(query)
    page.locator("#f-documents").fill(documents)


def test_a_hundred_documents_are_ranked_explained_and_shown_as_code(page: Page, address: str) -> None:
    texts = [f"Stone number {number} lies there." for number in range(99)] + ["Plants eat light. They are green."]
    fill(page, address, "plants eat light", "\n".join(texts))
    page.get_by_role("button", name="Rank").click()
    expect(page.locator(".ranks > li")).to_have_count(100)
    expect(page.locator(".ranks > li").first).to_contain_text("Plants eat light.")
    expect(page.locator(".up").first).to_contain_text("99")
    page.get_by_role("button", name="Why: what carries the score of number 1", exact=True).click()
    expect(page.locator("[data-explained] .parts li")).to_have_count(2)
    expect(page.locator(".parts li").first).to_contain_text("+4.000")
    picture(page, "playground-explained", ("light", 1_200))
    page.get_by_label("As code for").select_option("javascript")
    page.get_by_role("button", name="Show the code").click()
    expect(page.locator("[data-snippet] pre")).to_contain_text('const query = "plants eat light";')
    expect(page.locator(".ranks > li")).to_have_count(100)
    check(page)


def test_two_runs_stand_side_by_side(page: Page, address: str) -> None:
    texts = ["Stones lie still.", "A function that sorts plants by light.", "Plants turn light into sugar.", "Rain falls."]
    fill(page, address, "plants that turn light into sugar", "\n".join(texts))
    page.get_by_text("A second run beside it").click()
    page.get_by_label("Compare with").check()
    page.locator("#f-second_preset").select_option("code")
    page.get_by_role("button", name="Rank").click()
    expect(page.locator(".run")).to_have_count(2)
    picture(page, "playground-two-runs", ("light", 1_200))
    check(page)


def test_a_file_is_read_into_the_form(page: Page, address: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('id,text\n1,"plants, and light"\n2,stones\n', encoding="utf-8")
    fill(page, address, "plants", "")
    page.locator("#file").set_input_files(tmp_path / "x.csv")
    expect(page.locator("#f-form")).to_have_value("csv")
    page.get_by_role("button", name="Rank").click()
    expect(page.locator(".ranks > li")).to_have_count(2)
    expect(page.locator(".ranks > li").first).to_contain_text("plants, and light")


def test_an_error_is_shown_and_what_was_typed_stays(page: Page, address: str) -> None:
    fill(page, address, "no-room", "stones")
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("alert")).to_contain_text("the queue is full")
    expect(page.locator("#results")).to_contain_text("Try again in 2 s.")
    expect(page.locator("#f-query")).to_have_value("no-room")
    check(page)


def test_a_slow_model_can_be_stopped(page: Page, address: str) -> None:
    fill(page, address, "wait-for-ever", "stones")
    page.get_by_role("button", name="Rank").click()
    expect(page.locator("#results")).to_contain_text("The model is reading")
    expect(page.get_by_role("button", name="Rank")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#results")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Rank")).to_be_enabled()


def test_the_playground_needs_no_scripts(browser: Browser, address: str) -> None:
    with opened(browser, scripts=False) as page:
        fill(page, address, "plants", "stones\nplants")
        page.get_by_role("button", name="Rank").click()
        expect(page.locator(".ranks > li").first).to_contain_text("plants")
        page.get_by_role("button", name="Why").first.click()
        expect(page.locator(".parts li")).to_have_count(1)
        expect(page.locator("#f-query")).to_have_value("plants")


def test_a_link_to_a_play_holds_no_text(page: Page, address: str) -> None:
    fill(page, address, "a secret question", "a secret text")
    page.locator("#f-preset").select_option("legal")
    page.get_by_role("button", name="Rank").click()
    page.get_by_role("link", name="Link to these settings").click()
    page.wait_for_url("**preset=legal*")
    assert "secret" not in page.url
    expect(page.locator("#f-preset")).to_have_value("legal")


SIGN_IN = """async ([email, password]) => (await fetch("/v1/auth/sign-in", {method: "POST",
  headers: {"content-type": "application/json"}, body: JSON.stringify({email, password})})).status"""


def test_a_vote_is_cast_and_taken_back(page: Page, address: str) -> None:
    page.goto(f"{address}/models/qwen3-reranker-8b")
    expect(page.locator("aside")).to_contain_text("0 accounts ask for it")
    assert page.evaluate(SIGN_IN, ["ada@example.org", PASSWORD]) == 200
    page.reload()
    page.get_by_role("button", name="I want this model").click()
    expect(page.locator("aside")).to_contain_text("1 account asks for it")
    expect(page.get_by_role("status")).to_contain_text("Your vote counts")
    check(page)
    page.get_by_role("button", name="Take my vote back").click()
    expect(page.locator("aside")).to_contain_text("0 accounts ask for it")


def test_the_documentation_is_searched(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    page.get_by_role("searchbox").fill("csrf token of a session")
    page.keyboard.press("Enter")
    expect(page.locator(".found li").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("Put in order by fake.")
