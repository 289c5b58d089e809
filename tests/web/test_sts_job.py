"""A large file of pairs on the page: it becomes a job, whose answers are shown as they come."""

from pathlib import Path
from threading import Event

import pytest
from playwright.sync_api import expect

from .answers import job_answer, job_rows
from .page import WebPage
from .stub import Stub

LARGE = b"sentence1,sentence2\n" + b"a,b\n" * 10_000
ROWS = (("가", "나", 0.91, 1), ("다", "라", 0.2, 0), ("마", "바", -0.1, 0))
EVENTS = "/v1/batches/batch_1/events"
OUTPUT = "/v1/batches/batch_1/output"
CANCEL = "/v1/batches/batch_1/cancel"
RUNNING = job_answer("in_progress", 4, 2, 1)
COMPLETED = job_answer("completed", 4, 3, 1, output_file_id="file-2", error_file_id="file-3")


def give_job(stub: Stub, *states: dict[str, object]) -> Event:
    """Script a job with these states. Clear the returned event to delay the last one."""
    stub.give("/v1/files", {"id": "file-1"})
    stub.give("/v1/batches", job_answer("validating"))
    gate = stub.give_events(EVENTS, *(("batch", state) for state in states))
    stub.give(OUTPUT, job_rows(*ROWS[:2]), headers={"X-Next-Part": "2"})
    stub.give("/v1/files/file-2/content", job_rows(*ROWS))
    stub.give("/v1/files/file-3/content", '{"line": 9}\n')
    stub.give(CANCEL, job_answer("cancelling"))
    return gate


def paths(stub: Stub) -> list[str]:
    return [path for path, _ in stub.received]


def test_answers_progress_and_histogram_appear_while_the_job_runs(web: WebPage, stub: Stub, site: str) -> None:
    gate = give_job(stub, RUNNING, COMPLETED)
    gate.clear()
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.rows).to_have_text([r"1가나0.910같은 뜻", r"2다라0.200다른 뜻"])
    expect(web.sts_file.progress).to_have_js_property("value", 0.75)
    expect(web.sts_file.bars).to_have_count(20)
    expect(web.sts_file.status).to_have_text("70%를 마쳤습니다.")
    expect(web.sts_file.box.get_by_text("4쌍 가운데 3쌍을 마쳤습니다.")).to_be_visible()
    gate.set()
    expect(web.sts_file.verdict).to_have_text("3쌍 가운데 1쌍이 같은 뜻으로 보입니다.")
    expect(web.sts_file.rows).to_have_count(3)
    expect(web.sts_file.progress).to_have_count(0)
    expect(web.sts_file.notice).to_have_text("1쌍은 셈하지 못했습니다.")
    upload = dict(stub.received)["/v1/files"]
    assert b'name="purpose"' in upload
    assert LARGE in upload
    assert b'"endpoint":"/pred/file/"' in dict(stub.received)["/v1/batches"]
    assert "/pred/file/" not in paths(stub)


def test_the_results_and_errors_of_a_job_are_downloaded(web: WebPage, stub: Stub, site: str, tmp_path: Path) -> None:
    give_job(stub, COMPLETED)
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.csv_link).to_be_visible()
    for link, name, content in (
        (web.sts_file.download_link, "munjang-results.jsonl", job_rows(*ROWS)),
        (web.sts_file.errors_link, "munjang-errors.jsonl", '{"line": 9}\n'),
        (web.sts_file.csv_link, "munjang-results.csv", "\ufeffsentence1,sentence2,score,pred\r\n가,나,0.91,1\r\n"),
    ):
        download = web.download(link)
        download.save_as(tmp_path / name)
        assert download.suggested_filename == name
        assert (tmp_path / name).read_bytes().decode().startswith(content)


def test_a_job_is_stopped_by_its_button_which_keeps_the_focus(web: WebPage, stub: Stub, site: str) -> None:
    gate = give_job(
        stub, RUNNING, job_answer("cancelling", 4, 3, 1), job_answer("cancelled", 4, 3, 1, output_file_id="file-2")
    )
    gate.clear()
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.progress).to_have_js_property("value", 1)
    web.sts_file.stop.focus()
    web.page.keyboard.press("Enter")
    expect(web.sts_file.stop).to_be_focused()
    gate.set()
    expect(web.sts_file.notice).to_have_text("그만둔 때까지의 결과입니다.")
    assert CANCEL in paths(stub)


def test_the_words_of_a_running_job_change_with_the_language(web: WebPage, stub: Stub, site: str) -> None:
    gate = give_job(stub, RUNNING, COMPLETED)
    gate.clear()
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.stop).to_have_text("그만두기")
    web.language.click()
    expect(web.sts_file.stop).to_have_text("Stop")
    expect(web.sts_file.rows.first).to_contain_text("same")
    gate.set()
    expect(web.sts_file.verdict).to_have_text("1 of 3 pairs seem to mean the same.")


def test_a_job_is_followed_over_a_restart_of_its_server(web: WebPage, stub: Stub, site: str) -> None:
    give_job(stub, RUNNING, RUNNING)  # then the connection breaks
    stub.give_events(EVENTS, ("batch", RUNNING), ("batch", COMPLETED))
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.verdict).to_have_text("3쌍 가운데 1쌍이 같은 뜻으로 보입니다.")
    assert paths(stub).count(EVENTS) == 2


def test_sending_another_file_cancels_the_job(web: WebPage, stub: Stub, site: str) -> None:
    gate = give_job(stub, RUNNING, COMPLETED)
    gate.clear()
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.progress).to_be_visible()
    with web.page.expect_request(f"**{CANCEL}"):
        web.sts_file.box.locator("form").evaluate("(form) => form.requestSubmit()")


def test_a_file_that_is_refused_is_explained_line_by_line(web: WebPage, stub: Stub, site: str) -> None:
    faults = [{"code": "x", "line": 7, "message": "no header", "param": None}]
    give_job(stub, job_answer("failed", errors={"object": "list", "data": faults}))
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.error_items).to_have_text(["7: no header"])


def test_errors_in_the_shape_of_openai_are_shown_in_their_words(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/files", {"error": {"message": "the disk is full", "type": "x", "param": None, "code": None}}, 507)
    web.open(site)
    web.compare_file(LARGE)
    expect(web.sts_file.error).to_contain_text("the disk is full")


@pytest.mark.parametrize(("name", "path"), [("pairs.tsv", "/v1/files"), ("pairs.csv", "/pred/file/")])
def test_a_small_file_is_one_request_unless_it_is_separated_by_tabs(
    web: WebPage, stub: Stub, site: str, name: str, path: str
) -> None:
    web.open(site)
    with web.page.expect_request(f"**{path}"):
        web.compare_file(b"sentence1,sentence2\na,b\n", name)
