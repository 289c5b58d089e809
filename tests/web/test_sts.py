"""Similarity of pairs and files on the page."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .answers import file_answer, pairs_answer, sts_answer
from .page import WebPage
from .stub import Stub


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


def test_score_of_a_cross_encoder_is_shown_on_a_scale_from_0_to_5(web: WebPage, stub: Stub, site: str) -> None:
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


def test_file_of_pairs_is_shown_as_a_table_in_its_order(web: WebPage, stub: Stub, site: str) -> None:
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
def test_long_table_is_cut_with_a_notice(web: WebPage, stub: Stub, site: str, pairs: int, notices: int) -> None:
    stub.give("/pred/file/", file_answer([["가", "나"]] * pairs))
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(200)
    expect(web.sts_file.notice).to_have_count(notices)


def test_file_deleted_after_it_was_chosen_is_reported(web: WebPage, stub: Stub, site: str, tmp_path: Path) -> None:
    chosen = tmp_path / "pairs.json"
    chosen.write_text("{}")
    web.open(site, "sts")
    web.sts_file.field("file").set_input_files(chosen)
    chosen.unlink()
    web.sts_file.submit.click()
    expect(web.sts_file.error).to_contain_text("다시 골라 주세요")
    assert [path for path, _ in stub.received if path == "/pred/file/"] == []


@pytest.mark.parametrize(("truncated", "notices"), [("true", 1), ("false", 0)])
def test_truncated_texts_are_reported(web: WebPage, stub: Stub, site: str, truncated: str, notices: int) -> None:
    headers = {"X-Truncated": truncated}
    stub.give("/pred/sentences/", sts_answer(0.5, 0), headers=headers)
    stub.give("/pred/file/", file_answer([["a", "b"]]), headers=headers)
    web.open(site)
    web.compare("a", "b")
    expect(web.sts.number).to_be_visible()
    expect(web.sts.notice).to_have_count(notices)
    web.compare_file(b"{}")
    expect(web.sts_file.rows).to_have_count(1)
    expect(web.sts_file.notice).to_have_count(notices)


def test_many_sentences_are_compared_with_each_other_in_a_heat_map(web: WebPage, stub: Stub, site: str) -> None:
    stub.give("/v1/similarity", pairs_answer(0.91, 0.125, -0.2))
    web.open(site)
    web.compare_many("하나", "  둘 ", "", "셋")
    expect(web.sts_many.verdict).to_have_text("3쌍 가운데 1쌍이 같은 뜻으로 보입니다.")
    expect(web.sts_many.rows).to_have_text(["1. 하나", "2. 둘0.91", "3. 셋0.13-0.20"])
    assert json.loads(stub.received[-1][1]) == {"pairs": [["둘", "하나"], ["셋", "하나"], ["셋", "둘"]]}
    colours = web.sts_many.box.locator("tbody td").evaluate_all(
        "(cells) => cells.map((cell) => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(colours)) == 3


@pytest.mark.parametrize("count", [1, 41])
def test_too_few_and_too_many_sentences_are_refused_on_the_page(
    web: WebPage, stub: Stub, site: str, count: int
) -> None:
    web.open(site)
    web.compare_many(*["문장"] * count)
    expect(web.sts_many.error).to_contain_text("문장을 둘에서 40까지")
    assert "/v1/similarity" not in [path for path, _ in stub.received]


def test_the_scores_of_a_file_have_a_histogram_and_a_table_for_spreadsheets(
    web: WebPage, stub: Stub, site: str, tmp_path: Path
) -> None:
    answer = file_answer([["가, 나", '"다"'], ["=1+1", "라"]])
    stub.give("/pred/file/", {**answer, "preds": [1, 0], "scores": [0.91, 0.2]})
    web.open(site)
    web.compare_file(b"{}")
    expect(web.sts_file.bars).to_have_count(20)
    heights = web.sts_file.bars.evaluate_all("(bars) => bars.map((bar) => bar.offsetHeight > 0)")
    assert [index for index, shown in enumerate(heights) if shown] == [4, 18]
    download = web.download(web.sts_file.csv_link)
    download.save_as(tmp_path / "results.csv")
    assert download.suggested_filename == "munjang-results.csv"
    expected = '\ufeffsentence1,sentence2,score,pred\r\n"가, 나","""다""",0.91,1\r\n\'=1+1,라,0.2,0\r\n'
    assert (tmp_path / "results.csv").read_bytes().decode() == expected
