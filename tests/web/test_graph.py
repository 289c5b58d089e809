"""The live graph on the page."""

from playwright.sync_api import expect

from .answers import graph_answer, problem
from .page import WebPage
from .stub import Stub


def test_boxes_show_replicas_queues_and_batches_and_pulses_run_between_them(
    web: WebPage, stub: Stub, site: str
) -> None:
    stub.give("/v1/graph", graph_answer(3, busy=0.5))
    stub.give("/v1/graph", graph_answer(9, busy=0.5, waiting=4, replicas=3, starting=1))
    stub.give("/v1/graph", {}).clear()  # the third answer never comes
    web.open(site, "graph")
    expect(web.graph.boxes).to_have_count(8)
    encoder = web.graph.box("StsEncoder")
    expect(encoder).to_contain_text("복제본 1")
    expect(encoder.get_by_role("img")).to_have_attribute("aria-label", "복제본 StsEncoder-0: 50% 바쁨")
    expect(web.graph.pulses).to_have_count(0)  # nothing is known of the time before
    expect(encoder).to_contain_text("복제본 3 (+1)")
    expect(web.graph.pulses).not_to_have_count(0)
    expect(encoder.get_by_role("img")).to_have_count(3)
    busy, per_s, batch, waiting = encoder.locator("dd").all_inner_texts()
    assert (busy, batch, waiting) == ("31%", "3.0", "12")
    assert 0 < float(per_s) <= 18  # 18 items in a second and a half or longer
    expect(web.graph.totals).to_contain_text("복제본 10")
    assert web.graph.lines.evaluate_all("(lines) => lines.every((line) => line.getTotalLength() > 10)")
    assert web.graph.lines.count() == 1 + 7 + 4


def test_the_server_is_asked_again_and_again_but_only_for_the_graph(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/graph", graph_answer())
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.number).to_contain_text("90.0%")
    assert "/v1/graph" not in [path for path, _ in stub.received]
    web.tab("graph").click()
    expect(web.graph.boxes).to_have_count(8)
    with web.page.expect_response("**/v1/graph"):
        pass


def test_a_graph_that_is_refused_is_explained_until_it_comes(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/graph", problem(403, "Forbidden", "the API key lacks the scope admin"), status=403)
    stub.give("/v1/graph", graph_answer())
    web.page.clock.install()
    web.open(site, "graph")
    expect(web.graph.error).to_contain_text("the API key lacks the scope admin")
    web.page.clock.run_for(5_000)
    expect(web.graph.boxes).to_have_count(8)
    expect(web.graph.error).to_be_empty()


def test_samples_are_sent_to_all_tasks(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/graph", graph_answer())
    web.open(site, "graph")
    with web.page.expect_request("**/api"):
        web.graph.sample.click()
    assert {"/pred/sentences/", "/generate"} <= {path for path, _ in stub.received}


def test_who_wants_less_motion_sees_no_pulses(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/graph", graph_answer(0))
    stub.give("/v1/graph", graph_answer(9))
    stub.give("/v1/graph", {}).clear()
    web.page.emulate_media(reduced_motion="reduce")
    web.open(site, "graph")
    expect(web.graph.panel.locator(".line.used")).to_have_count(12)
    assert web.page.evaluate("document.querySelectorAll('.pulse').length") == 0
