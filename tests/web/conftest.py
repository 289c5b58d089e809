"""A real Chromium, a stub in place of the ingress, and a page that is checked for errors after each test."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, expect, sync_playwright

from .page import WebPage
from .stub import Stub, serving

EXPECT_TIMEOUT_MS = 10_000
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--headless",
]


def chromium_path() -> str:
    """The executable: $CHROMIUM, or the one on the path. Without one, the test is skipped, or fails in CI."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found:
        return found
    reason = "no Chromium found: install it on the path, or set CHROMIUM to its executable"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


# The scope is at most a module: while playwright runs, no other event loop can run in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium_path()
    expect.set_options(timeout=EXPECT_TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served_stub() -> Iterator[tuple[Stub, str]]:
    stub = Stub()
    with serving(stub) as url:
        yield stub, url


@pytest.fixture
def stub(served_stub: tuple[Stub, str]) -> Iterator[Stub]:
    stub, _ = served_stub
    stub.give("/info", {"tasks": {"sts": {"kind": "bi-encoder", "threshold": 0.6}}})
    yield stub
    stub.reset()


@pytest.fixture
def site(served_stub: tuple[Stub, str]) -> str:
    return served_stub[1]


@pytest.fixture
def web(browser: Browser) -> Iterator[WebPage]:
    """A new page, not opened yet. The test fails if there are complaints at its end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="ko-KR")
    web = WebPage(context.new_page())

    def refuse(dialog: Dialog) -> None:
        web.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    web.page.on("dialog", refuse)
    yield web
    context.close()
    assert web.complaints == []
