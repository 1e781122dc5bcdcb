"""A real browser for tests: Debian's Chromium, driven by Playwright, and what a page must be in it.

axe-core (MPL-2.0) comes with the package axe-playwright-python. Where no Chromium can be had its tests are skipped with the
reason, and under CI=true they fail.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

SCRIPT = Path(__file__).parents[1] / "scripts" / "chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
MOST_BYTES = 150_000
_BYTES = """() => performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""


@contextmanager
def chromium() -> Iterator[Browser]:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip()
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=done.stdout.strip(), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, scheme: str = "light", width: int = 1_200, scripts: bool = True) -> Iterator[Page]:
    """A page whose errors are the test's. What the browser says of an answer's status is none of them."""
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800},
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(30_000)
    yield page
    context.close()
    assert [one for one in said if "Failed to load resource" not in one] == []


def check(page: Page) -> None:
    """No violation of axe's rules, nothing wider than the window, and no more bytes than a page may have."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px wider than the window"


def weight(page: Page) -> int:
    """Bytes of the page and all that it loaded, uncompressed."""
    return int(page.evaluate(_BYTES))


def picture(page: Page, path: str, look: tuple[str, int]) -> None:
    """Of the whole page, where somebody wants them: `make screenshots`."""
    folder = os.environ.get("GIGARANK_SCREENSHOTS")
    if folder:
        name = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "home"
        page.evaluate("() => scrollTo({top: 0, behavior: 'instant'})")  # where the header stands that goes along
        page.screenshot(path=Path(folder) / f"{name}-{look[0]}-{look[1]}.png", full_page=True)
