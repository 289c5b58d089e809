"""The page in a real browser: what each task shows, what it says when things fail, and what stays inert."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from .page import WebPage
from .stub import Stub, serving

MARKUP = '<img src=x onerror="window.ran=1"><script>window.ran=1</script><b>굵게</b>'
LONG_WORD = "가나다라마바사" * 60
TABS = ["qa", "sts", "cola"]


def qa_answer(context: str, answer: str, question: str = "어디인가요?") -> dict[str, str]:
    return {"question": question, "context": context, "answer": answer}


def sts_answer(score: float, pred: int, first: str = "첫 문장", second: str = "둘째 문장") -> dict[str, Any]:
    return {"sentence_1": first, "sentence_2": second, "score": score, "pred": pred, "runtime(sec)": 0.05}


def file_answer(pairs: list[list[str]]) -> dict[str, Any]:
    return {"sentences": pairs, "preds": [1] * len(pairs), "scores": [0.9] * len(pairs), "runtime(sec)": 0.2}


def problem(status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": "req-7"}
    return {**body, "errors": errors} if errors else body


# Question answering


def test_question_gets_its_answer_marked_inside_the_context(web: WebPage, stub: Stub, site: str) -> None:
    context = "종묘는 서울에 있다.\n경기전은 전주에 있다."
    stub.give("/api", qa_answer(context, "전주", "경기전은 어디에 있나요?"))
    web.open(site)
    web.ask("경기전은 어디에 있나요?", context)
    expect(web.qa.answer).to_have_text("전주")
    expect(web.qa.marked).to_have_text("전주")
    assert web.qa.text_before_mark() == "종묘는 서울에 있다.\n경기전은 "
    assert web.qa.passage.text_content() == context
    path, body = stub.received[-1]
    assert (path, json.loads(body)) == ("/api", {"question": "경기전은 어디에 있나요?", "context": context})


def test_first_occurrence_is_marked_where_the_server_names_no_span(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("🙂 봄 다음도 봄", "봄"))
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_count(1)
    assert web.qa.text_before_mark() == "🙂 "


@pytest.mark.parametrize(
    ("context", "answer", "span", "before"),
    [
        ("봄이 가면 봄이 온다", "봄", "6-7", "봄이 가면 "),
        ("🙂👍🏽 봄이 가면 🌸 봄이 온다", "봄", "12-13", "🙂👍🏽 봄이 가면 🌸 "),
        ("🌸꽃 🌸꽃", "🌸꽃", "3-5", "🌸꽃 "),
    ],
)
def test_span_header_counts_code_points(
    web: WebPage, stub: Stub, site: str, context: str, answer: str, span: str, before: str
) -> None:
    stub.give("/api", qa_answer(context, answer), headers={"X-Answer-Span": span})
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_text(answer)
    assert web.qa.text_before_mark() == before
    assert web.qa.passage.text_content() == context


@pytest.mark.parametrize("span", ["", "abc", "0-1", "7-3", "90-95"])
def test_span_header_that_does_not_fit_the_answer_is_ignored(web: WebPage, stub: Stub, site: str, span: str) -> None:
    stub.give("/api", qa_answer("여름 봄", "봄"), headers={"X-Answer-Span": span})
    web.open(site)
    web.ask("?", "본문")
    expect(web.qa.marked).to_have_text("봄")
    assert web.qa.text_before_mark() == "여름 "


def test_empty_answer_is_said_in_words(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문입니다.", ""), headers={"X-Answer-Span": "0-0"})
    web.open(site)
    web.ask("누구인가요?", "본문입니다.")
    expect(web.qa.verdict).to_have_text("본문에서 답을 찾지 못했습니다.")
    expect(web.qa.passage).to_have_text("본문입니다.")
    expect(web.qa.marked).to_have_count(0)


# Sentence similarity


@pytest.mark.parametrize(
    ("score", "pred", "words"),
    [(0.8317, 1, "두 문장은 같은 뜻으로 보입니다."), (-0.25, 0, "두 문장은 다른 뜻으로 보입니다.")],
)
def test_pair_gets_score_bar_and_verdict(
    web: WebPage, stub: Stub, site: str, score: float, pred: int, words: str
) -> None:
    stub.give("/pred/sentences/", sts_answer(score, pred))
    web.open(site)
    web.compare("첫 문장", "둘째 문장")
    expect(web.sts.number).to_contain_text(f"{score:.3f}")
    expect(web.sts.verdict).to_have_text(words)
    expect(web.sts.meter).to_have_attribute("aria-valuenow", str(score))
    expect(web.sts.meter).to_have_attribute("aria-valuemin", "-1")
    expect(web.sts.meter).to_contain_text("기준 0.6")
    assert json.loads(stub.received[-1][1]) == {"sentence_1": "첫 문장", "sentence_2": "둘째 문장"}


def test_bar_of_a_negative_cosine_grows_left_from_the_middle(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/sentences/", sts_answer(-0.5, 0))
    web.open(site)
    web.compare("첫 문장", "둘째 문장")
    bar, fill = web.sts.box.locator(".bar"), web.sts.box.locator(".fill")
    expect(fill).to_be_visible()
    outer, inner = bar.bounding_box(), fill.bounding_box()
    assert outer is not None
    assert inner is not None
    assert inner["x"] - outer["x"] == pytest.approx(outer["width"] / 4, abs=1)
    assert inner["width"] == pytest.approx(outer["width"] / 4, abs=1)


def test_cross_encoder_is_shown_on_the_scale_to_five(web: WebPage, stub: Stub, site: str) -> None:
    stub.reset()
    stub.give("/info", {"tasks": {"sts": {"kind": "cross-encoder", "threshold": 3.0}}})
    stub.give("/pred/sentences/", sts_answer(0.9, 0))
    web.open(site)
    web.compare("첫 문장", "둘째 문장")
    expect(web.sts.meter).to_have_attribute("aria-valuemin", "0")
    expect(web.sts.meter).to_have_attribute("aria-valuemax", "5")


@pytest.mark.parametrize(("score", "top"), [(0.7, "1"), (3.4, "5")])
def test_without_info_the_score_itself_chooses_the_scale(
    web: WebPage, stub: Stub, site: str, score: float, top: str
) -> None:
    stub.reset()
    stub.give("/info", "<h1>Not Found</h1>", status=404)
    stub.give("/pred/sentences/", sts_answer(score, 1))
    web.open(site)
    web.compare("첫 문장", "둘째 문장")
    expect(web.sts.meter).to_have_attribute("aria-valuemax", top)


def test_file_of_pairs_becomes_a_table_in_its_order(web: WebPage, stub: Stub, site: str) -> None:
    answer = file_answer([["하나", "둘"], ["셋", "넷"], ["다섯", "여섯"]])
    stub.give("/pred/file/", {**answer, "preds": [1, 0, 0], "scores": [0.91, 0.2, -0.1]})
    web.open(site)
    web.compare_file(b'{"results": []}')
    expect(web.sts_file.rows).to_have_text([r"1하나둘0.910같은 뜻", r"2셋넷0.200다른 뜻", r"3다섯여섯-0.100다른 뜻"])
    expect(web.sts_file.verdict).to_have_text("3쌍 가운데 1쌍이 같은 뜻으로 보입니다.")
    expect(web.sts_file.notice).to_have_count(0)
    body = stub.received[-1][1]
    assert b'name="file"; filename="pairs.json"' in body
    assert b'{"results": []}' in body


def test_result_file_is_the_server_answer_unchanged(web: WebPage, stub: Stub, site: str, tmp_path: Path) -> None:
    stub.give("/pred/file/", '{"sentences":[["가","나"]],"preds":[1],"scores":[1.0],"runtime(sec)":0.10}\n')
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.download_link).to_be_visible()
    download = web.download()
    download.save_as(tmp_path / "results.json")
    assert download.suggested_filename == "munjang-results.json"
    expected = '{"sentences":[["가","나"]],"preds":[1],"scores":[1.0],"runtime(sec)":0.10}\n'
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(("pairs", "notices"), [(200, 0), (201, 1)])
def test_long_table_is_cut_and_says_so(web: WebPage, stub: Stub, site: str, pairs: int, notices: int) -> None:
    stub.give("/pred/file/", file_answer([["가", "나"]] * pairs))
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(200)
    expect(web.sts_file.notice).to_have_count(notices)


def test_file_gone_since_it_was_chosen_is_said_in_words(web: WebPage, stub: Stub, site: str, tmp_path: Path) -> None:
    chosen = tmp_path / "pairs.json"
    chosen.write_text("{}")
    web.open(site, "sts")
    web.sts_file.field("file").set_input_files(chosen)
    chosen.unlink()
    web.sts_file.submit.click()
    expect(web.sts_file.error).to_contain_text("다시 골라 주세요")
    assert [path for path, _ in stub.received if path == "/pred/file/"] == []


# Acceptability


@pytest.mark.parametrize(
    ("prob", "percent", "words"),
    [(0.257, "25.7%", "문법에 어긋난 문장으로 보입니다."), (0.98, "98.0%", "문법에 맞는 문장으로 보입니다.")],
)
def test_sentence_gets_its_probability_in_number_bar_and_words(
    web: WebPage, stub: Stub, site: str, prob: float, percent: str, words: str
) -> None:
    stub.give("/generate", {"prob": prob})
    web.open(site)
    web.judge("I are a boy")
    expect(web.cola.number).to_contain_text(percent)
    expect(web.cola.meter).to_have_attribute("aria-valuenow", str(prob))
    expect(web.cola.verdict).to_have_text(words)
    assert json.loads(stub.received[-1][1]) == {"passage": "I are a boy"}


# Forms


@pytest.mark.parametrize(
    ("task", "tab", "path", "answer"),
    [
        ("qa", "qa", "/api", qa_answer("본문", "본문")),
        ("sts", "sts", "/pred/sentences/", sts_answer(0.5, 0)),
        ("sts_file", "sts", "/pred/file/", file_answer([["가", "나"]])),
        ("cola", "cola", "/generate", {"prob": 0.5}),
    ],
)
def test_example_fills_a_form_that_can_be_sent(
    web: WebPage, stub: Stub, site: str, task: str, tab: str, path: str, answer: dict[str, Any]
) -> None:
    stub.give(path, answer)
    web.open(site, tab)
    box = getattr(web, task)
    box.example.click()
    box.submit.click()
    expect(box.result.locator(".hint")).to_have_count(0)
    expect(box.error).to_be_empty()
    assert stub.received[-1][0] == path


def test_example_file_has_the_documented_format(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", file_answer([["가", "나"]]))
    web.open(site, "sts")
    web.sts_file.example.click()
    web.sts_file.submit.click()
    expect(web.sts_file.rows).to_have_count(1)
    body = stub.received[-1][1]
    pairs = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["results"]
    assert [set(pair) for pair in pairs] == [{"idx", "sentence1", "sentence2"}] * len(pairs)
    assert [pair["idx"] for pair in pairs] == list(range(1, len(pairs) + 1))


def test_nothing_is_sent_while_a_field_is_empty(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    web.ask("", "본문")
    expect(web.qa.field("question")).to_be_focused()
    assert [path for path, _ in stub.received if path == "/api"] == []


def test_ctrl_enter_sends(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문", "본문"))
    web.open(site)
    web.qa.field("question").fill("무엇인가요?")
    web.qa.field("context").fill("본문")
    web.qa.field("context").press("Control+Enter")
    expect(web.qa.answer).to_have_text("본문")


def test_button_is_disabled_while_running_and_keeps_the_focus(web: WebPage, stub: Stub, site: str) -> None:
    gate = stub.give("/generate", {"prob": 0.9})
    gate.clear()
    web.open(site, "cola")
    web.judge("They sing.")
    expect(web.cola.submit).to_be_disabled()
    expect(web.cola.box).to_have_attribute("aria-busy", "true")
    expect(web.cola.box.get_by_role("status")).to_have_text("답을 기다리는 중입니다.")
    gate.set()
    expect(web.cola.submit).to_be_enabled()
    expect(web.cola.submit).to_be_focused()
    expect(web.cola.box.get_by_role("status")).to_contain_text("90.0%")


def test_newer_request_cancels_the_older(web: WebPage, stub: Stub, site: str) -> None:
    gate = stub.give("/api", qa_answer("옛 본문", "옛"))
    gate.clear()
    stub.give("/api", qa_answer("새 본문", "새"))
    web.open(site)
    with web.page.expect_request("**/api"):
        web.ask("옛 질문", "옛 본문")
    with web.page.expect_event("requestfailed") as failed:
        web.qa.field("context").fill("새 본문")
        web.qa.field("context").press("Control+Enter")
    assert failed.value.post_data_json["context"] == "옛 본문"
    expect(web.qa.answer).to_have_text("새")
    expect(web.qa.submit).to_be_enabled()
    expect(web.qa.error).to_be_empty()


# Failures, in words


def test_problem_is_shown_with_its_fields_and_request_id(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": "/sentence_2", "code": "blank", "detail": "must hold some text"}]
    body = problem(422, "Invalid input", "One field is at fault.", errors)
    stub.give("/pred/sentences/", body, status=422, headers={"X-Request-ID": "req-42"})
    web.open(site)
    web.compare("첫 문장", "   ")
    expect(web.sts.error).to_contain_text("입력을 확인해 주세요.")
    expect(web.sts.error).to_contain_text("Invalid input — One field is at fault.")
    expect(web.sts.error_items).to_have_text(["문장 2: must hold some text"])
    expect(web.sts.error).to_contain_text("요청 번호 req-42")
    expect(web.sts.field("sentence_2")).to_have_attribute("aria-invalid", "true")
    expect(web.sts.field("sentence_1")).not_to_have_attribute("aria-invalid", "true")


def test_fault_inside_a_file_is_placed_by_pair(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": "/results/516/sentence2", "code": "missing", "detail": "is missing"}]
    stub.give("/pred/file/", problem(422, "Invalid input", "", errors), status=422)
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.error_items).to_have_text(["517번째 쌍 sentence2: is missing"])
    expect(web.sts_file.error).to_contain_text("요청 번호 req-7")


def test_error_goes_away_with_the_next_answer(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/generate", problem(422, "Invalid input", "", [{"pointer": "/passage", "detail": "no"}]), status=422)
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.judge("They sing.")
    expect(web.cola.error).to_contain_text("Invalid input")
    expect(web.cola.result).to_be_empty()
    web.cola.submit.click()
    expect(web.cola.number).to_contain_text("90.0%")
    expect(web.cola.error).to_be_empty()
    expect(web.cola.field("passage")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (502, "<html><h1>Bad Gateway</h1></html>", {}, "서버에 문제가 생겼습니다 (502)."),
        (500, "", {"X-Request-ID": "req-9"}, "요청 번호 req-9"),
        (429, problem(429, "Busy", "Over capacity."), {"Retry-After": "7"}, "7초 뒤에 다시 보내 주세요."),
        (401, problem(401, "Unauthorized", "No key."), {}, "API 키"),
        (413, problem(413, "Too long", "Over the limit."), {}, "보낸 내용이 너무 깁니다."),
        (404, {"detail": "Not Found"}, {}, "Not Found"),
        (418, "[]", {}, "서버가 요청을 받아들이지 않았습니다 (418)."),
        (200, "<html>hello</html>", {}, "서버의 답을 읽을 수 없습니다."),
        (200, "null", {}, "서버의 답을 읽을 수 없습니다."),
    ],
)
def test_refusal_is_said_in_words(
    web: WebPage, stub: Stub, site: str, status: int, body: Any, headers: dict[str, str], words: str
) -> None:
    stub.give("/api", body, status=status, headers=headers)
    web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error).to_contain_text(words)
    expect(web.qa.submit).to_be_enabled()


def test_answer_without_its_fields_is_said_in_words(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", {"results": []})
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.error).to_contain_text("서버의 답을 이해하지 못했습니다.")
    assert len(web.complaints) == 1
    web.complaints.clear()


def test_server_that_is_down_is_said_in_words(web: WebPage) -> None:
    with serving(Stub()) as site:
        web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error).to_contain_text("서버에 닿지 못했습니다.")
    expect(web.qa.submit).to_be_enabled()


def test_request_is_given_up_after_a_minute(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer("본문", "본문")).clear()
    web.page.clock.install()
    web.open(site)
    with web.page.expect_request("**/api"):
        web.ask("무엇인가요?", "본문")
    web.page.clock.fast_forward(59_000)
    expect(web.qa.submit).to_be_disabled()
    web.page.clock.fast_forward(2_000)
    expect(web.qa.error).to_contain_text("60초를 기다렸지만 답이 오지 않았습니다.")
    expect(web.qa.submit).to_be_enabled()


# Markup stays text


def assert_inert(web: WebPage) -> None:
    assert web.page.evaluate("window.ran") is None
    assert web.page.locator("main img, main script, main b:not(.error b)").count() == 0


def test_markup_in_question_context_and_answer_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    context = f"앞 {MARKUP} 뒤"
    stub.give("/api", qa_answer(context, MARKUP, question=MARKUP))
    web.open(site)
    web.ask(MARKUP, context)
    expect(web.qa.answer).to_have_text(MARKUP)
    expect(web.qa.marked).to_have_text(MARKUP)
    expect(web.qa.result).to_contain_text(f"앞 {MARKUP} 뒤")
    assert_inert(web)


def test_markup_in_sentences_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/sentences/", sts_answer(0.9, 1, MARKUP, MARKUP))
    stub.give("/generate", {"prob": 0.9})
    web.open(site)
    web.compare(MARKUP, MARKUP)
    expect(web.sts.result).to_contain_text(MARKUP)
    web.judge(MARKUP)
    expect(web.cola.result).to_contain_text(MARKUP)
    assert_inert(web)


def test_markup_in_a_file_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/pred/file/", file_answer([[MARKUP, "둘째"]]))
    web.open(site)
    web.compare_file(
        json.dumps({"results": [{"idx": 1, "sentence1": MARKUP, "sentence2": "둘째"}]}).encode(), "<b>.json"
    )
    expect(web.sts_file.rows).to_contain_text([MARKUP])
    assert_inert(web)


def test_markup_in_a_problem_stays_text(web: WebPage, stub: Stub, site: str) -> None:
    errors = [{"pointer": f"/{MARKUP}", "code": "bad", "detail": MARKUP}, {"pointer": "/question", "detail": MARKUP}]
    stub.give("/api", {**problem(422, MARKUP, MARKUP, errors), "instance": MARKUP}, status=422)
    web.open(site)
    web.ask("무엇인가요?", "본문")
    expect(web.qa.error_items).to_have_text([f"/{MARKUP}: {MARKUP}", f"질문: {MARKUP}"])
    assert_inert(web)


# Tabs and layout


def test_arrow_home_and_end_keys_move_between_tabs(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    web.tab("qa").focus()
    for key, name in [
        ("ArrowRight", "sts"),
        ("ArrowRight", "cola"),
        ("ArrowRight", "qa"),
        ("ArrowLeft", "cola"),
        ("Home", "qa"),
        ("End", "cola"),
    ]:
        web.page.keyboard.press(key)
        expect(web.tab(name)).to_be_focused()
        expect(web.tab(name)).to_have_attribute("aria-selected", "true")
        expect(web.panel(name)).to_be_visible()
        expect(web.page.get_by_role("tabpanel")).to_have_count(1)


def test_tab_key_goes_from_the_chosen_tab_into_its_form(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "sts")
    expect(web.tab("sts")).to_have_attribute("aria-selected", "true")
    web.tab("sts").focus()
    web.page.keyboard.press("Tab")
    expect(web.sts.field("sentence_1")).to_be_focused()


@pytest.mark.parametrize("name", TABS)
def test_deep_link_opens_its_tab(web: WebPage, stub: Stub, site: str, name: str) -> None:
    web.open(site, name)
    expect(web.panel(name)).to_be_visible()
    expect(web.tab(name)).to_have_attribute("aria-selected", "true")


def test_back_returns_to_the_tab_before_and_keeps_what_was_written(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "qa")
    web.qa.field("question").fill("쓰던 질문")
    web.tab("cola").click()
    expect(web.panel("cola")).to_be_visible()
    web.page.go_back()
    expect(web.panel("qa")).to_be_visible()
    expect(web.qa.field("question")).to_have_value("쓰던 질문")


def test_unknown_deep_link_opens_the_first_tab(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site, "nothing")
    expect(web.panel("qa")).to_be_visible()


def test_every_field_has_a_name_for_screen_readers(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    fields = web.page.locator("input, textarea")
    assert fields.evaluate_all("(all) => all.filter((field) => !field.labels.length).length") == 0


def test_documentation_is_linked(web: WebPage, stub: Stub, site: str) -> None:
    web.open(site)
    expect(web.page.get_by_role("link", name="API 문서").first).to_have_attribute("href", "/docs")


@pytest.mark.parametrize("name", TABS)
def test_phone_never_scrolls_sideways(web: WebPage, stub: Stub, site: str, name: str) -> None:
    web.page.set_viewport_size({"width": 360, "height": 740})
    web.open(site, name)
    expect(web.panel(name)).to_be_visible()
    assert web.sideways_overflow() <= 0


def test_phone_never_scrolls_sideways_for_long_words(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/api", qa_answer(LONG_WORD, LONG_WORD, LONG_WORD))
    stub.give("/pred/sentences/", sts_answer(0.9, 1, LONG_WORD, "x" * 400))
    stub.give("/pred/file/", file_answer([[LONG_WORD, "x" * 400]]))
    stub.give(
        "/generate", problem(422, LONG_WORD, "x" * 400, [{"pointer": "y" * 300, "detail": LONG_WORD}]), status=422
    )
    web.page.set_viewport_size({"width": 360, "height": 740})
    web.open(site)
    web.ask(LONG_WORD, LONG_WORD)
    expect(web.qa.marked).to_be_visible()
    assert web.sideways_overflow() <= 0
    web.compare(LONG_WORD, LONG_WORD)
    expect(web.sts.meter).to_be_visible()
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(1)
    assert web.sideways_overflow() <= 0
    web.judge("x" * 400)
    expect(web.cola.error_items).to_have_count(1)
    assert web.sideways_overflow() <= 0
