"""axe-core finds nothing to complain about, in no tab, in both languages, by day and by night."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import expect

from .answers import (
    citation,
    file_answer,
    graph_answer,
    job_answer,
    pairs_answer,
    passages_answer,
    problem,
    qa_answer,
    spans_answer,
    sts_answer,
)
from .page import WebPage
from .stub import Stub
from .test_sts_job import LARGE, give_job


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core. Without the package the test is skipped, or fails in CI."""
    if not os.environ.get("CI"):
        pytest.importorskip("axe_playwright_python")
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(web: WebPage, axe: str) -> list[str]:
    web.page.evaluate(axe)
    results: dict[str, Any] = web.page.evaluate("axe.run()")
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in results["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_running_job_has_no_violation(
    web: WebPage, stub: Stub, site: str, axe: str, scheme: Literal["light", "dark"]
) -> None:
    give_job(stub, job_answer("in_progress", 4, 2, 1), job_answer("completed", 4, 3, 1)).clear()
    web.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.rows).to_have_count(2)
    assert violations(web, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_has_a_violation_before_and_after_its_answer(
    web: WebPage, stub: Stub, site: str, axe: str, scheme: Literal["light", "dark"]
) -> None:
    stub.give("/api", qa_answer("전주에 있다.", "전주"))
    stub.give("/pred/sentences/", sts_answer(0.9, 1))
    stub.give("/pred/file/", file_answer([["가", "나"]]))
    stub.give("/generate", problem(422, "Invalid input", "", [{"pointer": "/passage", "detail": "no"}]), status=422)
    stub.give_events(
        "/v1/chat", ("message", {"output": "5월 4일."}), ("done", {"citations": [citation("5월 4일.", after=" 봄.")]})
    )
    stub.give("/v1/answers", spans_answer("전주에 있다.", ("전주", 0.9)))
    stub.give("/v1/similarity", pairs_answer(0.95, 0.5, 0.1))
    stub.give("/v1/acceptability", passages_answer(0.9, 0.2))
    stub.give("/v1/graph", graph_answer(3, waiting=2, replicas=2, starting=1))
    web.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    web.open(site)
    assert violations(web, axe) == []
    web.ask("어디인가요?", "전주에 있다.")
    web.qa.alternatives.locator("summary").click()
    expect(web.qa.alternatives.get_by_role("listitem")).to_have_count(2)
    assert violations(web, axe) == []
    web.compare("첫 문장", "둘째 문장")
    expect(web.sts.meter).to_be_visible()
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(1)
    web.compare_many("하나", "둘", "셋")
    expect(web.sts_many.rows).to_have_count(3)
    assert violations(web, axe) == []
    web.judge("x")
    expect(web.cola.error_items).to_have_count(1)
    assert violations(web, axe) == []
    web.judge("She sings. They was late.")
    expect(web.cola.sentences).to_have_count(2)
    assert violations(web, axe) == []
    web.tab("chat").click()
    web.chat.ask("언제?")
    expect(web.chat.marked).to_be_visible()
    assert violations(web, axe) == []
    web.tab("graph").click()
    expect(web.graph.boxes).to_have_count(8)
    if scheme == "dark":
        web.language.click()
    assert violations(web, axe) == []
