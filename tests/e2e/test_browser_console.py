"""The console in a real browser: from a sign-up to a ranked result, a batch to its answers, an operator's work; every page."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from batching import lines
from browsing import MOST_BYTES, check, opened, picture, weight
from gigarank.service.accounts import signing
from gigarank.service.web.console_routes import ROUTES
from people import PASSWORD
from stands import Stand

NEW = "new@example.org"
FILE = "/console/files/{file_id}"
PATHS = sorted({route.path for route in ROUTES if route.method == "GET"} - {FILE})  # a file is no page
LOOKS = (("light", 1_200), ("dark", 390))


def new_key(page: Page, stand: Stand) -> str:
    """Its text, from the page that shows it once."""
    page.goto(f"{stand.address}/console/keys/new")
    page.get_by_label("Name").fill("first")
    page.get_by_role("button", name="Make the key").click()
    return page.locator("pre").first.inner_text()


@pytest.fixture(scope="module")
def ids(browser: Browser, stand: Stand) -> dict[str, str]:
    with opened(browser) as page:
        stand.sign_in(page, "/console")
        return stand.use(page)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_page_is_for_everybody(browser: Browser, stand: Stand, ids: dict[str, str], look: tuple[str, int]) -> None:
    with opened(browser, *look) as page:
        stand.sign_in(page, "/console")
        for path in PATHS:
            page.goto(stand.address + path.format(**ids))
            expect(page.locator("h1")).to_have_count(1)
            check(page)
            assert weight(page) < MOST_BYTES, path
            picture(page, path, look)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "none"])
def test_from_a_sign_up_to_a_ranked_result(browser: Browser, stand: Stand, scripts: bool) -> None:
    email = f"{scripts}-{NEW}".lower()
    with opened(browser, scripts=scripts) as page:
        page.goto(f"{stand.address}/sign-up")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        expect(page.get_by_text("This server sends no mail")).to_be_visible()
        now = int(time.time())
        _, link = stand.database.transaction(lambda one: signing.operators_link(one, stand.address, email, now))
        page.goto("about:blank")
        page.goto(link)
        if scripts:
            expect(page.get_by_label("Code")).to_be_hidden()
            assert "#" not in page.url  # the token is in the form, and in no history
        else:
            page.get_by_label("Code").fill(link.partition("#")[2])
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Open the account").click()
        expect(page.get_by_text("Make your first key.")).to_be_visible()
        page.get_by_role("link", name="New key").click()
        page.get_by_label("Name").fill("first")
        page.get_by_role("button", name="Make the key").click()
        key = page.locator("pre").first.inner_text()
        if scripts:
            check(page)
        asked = {"query": "what do plants eat", "documents": ["stones", "plants eat light"]}
        answer = page.request.post(f"{stand.address}/v1/rerank", data=asked, headers={"authorization": f"Bearer {key}"})
        assert [one["index"] for one in answer.json()["results"]] == [1, 0]
        page.goto(f"{stand.address}/console")
        expect(page.get_by_text("for 1 requests, 2 documents")).to_be_visible()
        page.goto(f"{stand.address}/console/usage")
        expect(page.get_by_role("img", name="Spent by day")).to_be_visible()
        if scripts:
            check(page)


def test_a_batch_from_its_file_to_its_answers(browser: Browser, stand: Stand) -> None:
    with opened(browser) as page:
        stand.sign_in(page, "/console/batches")
        new_key(page, stand)
        page.goto(f"{stand.address}/console/batches")
        sent = {"name": "in.jsonl", "mimeType": "application/jsonl", "buffer": lines(20)}
        page.get_by_label("JSONL file").set_input_files(sent)  # type: ignore[arg-type]
        page.get_by_role("button", name="Send").click()
        check(page)
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("link", name="Download the answers")).to_be_visible(timeout=60_000)  # renewed by itself
        check(page)
        with page.expect_download() as begun:
            page.get_by_role("link", name="Download the answers").click()
        assert Path(begun.value.path()).read_bytes().count(b"\n") == 20


def test_an_operator_takes_a_model_to_live_and_watches_the_queues(browser: Browser, stand: Stand) -> None:
    with opened(browser) as page:
        stand.sign_in(page, "/operator/models")
        page.get_by_label("Another model").fill("nano")
        page.get_by_role("button", name="Write it down").click()
        for state in ("benchmarking", "onboarding", "live"):
            page.get_by_role("button", name=f"nano becomes {state}").click()
            expect(page.get_by_role("heading", name=f"nano {state}")).to_be_visible()
        check(page)
        page.goto(f"{stand.address}/operator/queues")
        with page.expect_response(re.compile(r"/v1/operator/queues$"), timeout=30_000):
            expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_be_visible()
