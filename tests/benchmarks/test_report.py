from typing import Any

from benchmarks.report import Cell, Key, best_peer, columns, failures, markdown, model_section, ratio, rivals

RATE = Key("64 callers", "pairs_per_s")
P99 = Key("64 callers", "p99_ms")


def figures(
    label: str, rate: float, p99: float, number: int = 1, precision: str = "fp32", **more: Any
) -> dict[str, Any]:
    about = {"kind": "figures", "round": number, "model": "small", "server": label.partition("/")[0], "label": label}
    return about | {"precision": precision, "load": "64 callers", "pairs_per_s": rate, "p99_ms": p99} | more


def test_a_figure_is_the_median_over_rounds() -> None:
    records = [figures("mosec/1x2", rate, 9.0, number) for number, rate in enumerate((100.0, 900.0, 200.0), 1)]
    assert columns(records, "small")["mosec"][RATE] == Cell(200.0, "1x2")


def test_for_each_figure_the_better_setting_of_a_peer_counts() -> None:
    table = columns([figures("mosec/1x2", 100.0, 9.0), figures("mosec/2x1", 120.0, 11.0)], "small")
    assert table["mosec"] == {RATE: Cell(120.0, "2x1"), P99: Cell(9.0, "1x2")}


def test_each_variant_of_munjang_has_its_own_column() -> None:
    table = columns([figures("munjang/fp32", 100.0, 9.0), figures("munjang/int8", 200.0, 5.0)], "small")
    assert (table["munjang/fp32"][RATE].value, table["munjang/int8"][RATE].value) == (100.0, 200.0)


def test_the_better_way_to_send_a_file_counts() -> None:
    records = [
        figures("fastapi/1x2", 300.0, 1.0, load="file of 1,000", way="one request"),
        figures("fastapi/1x2", 100.0, 1.0, load="file of 1,000", way="singly"),
    ]
    cell = columns(records, "small")["fastapi"][Key("file of 1,000", "pairs_per_s")]
    assert cell == Cell(300.0, "1x2, one request")


def test_a_setting_without_refusals_is_better_than_one_with_refusals() -> None:
    records = [figures("bentoml/1x2", 500.0, 1.0, refused=3), figures("bentoml/2x1", 100.0, 20.0, refused=0)]
    assert columns(records, "small")["bentoml"] == {RATE: Cell(100.0, "2x1"), P99: Cell(20.0, "2x1")}


def test_ratios_are_above_one_where_munjang_is_better() -> None:
    assert ratio("pairs_per_s", 200.0, 100.0) == 2.0
    assert ratio("p99_ms", 200.0, 100.0) == 0.5


def test_the_best_peer_has_the_highest_rate_and_the_lowest_latency() -> None:
    table = columns([figures("mosec/1x2", 100.0, 9.0), figures("litserve/1x2", 120.0, 11.0)], "small")
    assert best_peer(table, RATE, table) == ("litserve", Cell(120.0, "1x2"))
    assert best_peer(table, P99, table) == ("mosec", Cell(9.0, "1x2"))
    assert best_peer(table, Key("1 callers", "p50_ms"), table) is None


def ratios_of(load: str, **munjang: Any) -> list[str]:
    """The last cell of each row of a load in which both servers have the same figures."""
    records = [figures("munjang/fp32", 9.0, 9.0, load=load, **munjang), figures("mosec/1x2", 9.0, 9.0, load=load)]
    return [line.split("|")[-2].strip() for line in model_section(records, "small") if line.startswith(f"| {load}")]


def test_rates_that_the_load_sets_are_not_compared() -> None:
    assert ratios_of("64 callers") == ["1.00 (mosec)", "1.00 (mosec)"]
    assert ratios_of("open, 50/s") == ["", "1.00 (mosec)"]
    assert ratios_of("open, 80% of its own") == ["", ""]


def test_a_server_that_refused_is_not_compared_with_one_that_did_not() -> None:
    assert ratios_of("64 callers", refused=1) == ["refused (mosec did not)"] * 2


def test_fp32_is_compared_with_fp32_and_int8_with_all() -> None:
    records = [
        figures("munjang/fp32", 1.0, 1.0),
        figures("munjang/int8", 1.0, 1.0, precision="int8"),
        figures("mosec/1x2", 1.0, 1.0),
        figures("infinity-int8/1x2", 1.0, 1.0, precision="int8"),
        figures("original/1x2", 1.0, 1.0),
    ]
    assert rivals(records, "munjang/fp32") == ["mosec"]
    assert rivals(records, "munjang/int8") == ["mosec", "infinity-int8"]


def test_the_report_contains_ratio_best_peer_and_failures() -> None:
    machine = {"cpu": "a", "cores": 2, "memory_gib": 4, "commit": "abc", "changed": [], "date": "today", "command": "c"}
    records = [
        {"kind": "machine", **machine},
        figures("munjang/fp32", 150.0, 9.0),
        figures("mosec/1x2", 100.0, 9.0),
        {"kind": "failure", "round": 1, "model": "small", "label": "bentoml/1x2", "error": "ServerFailed: gone"},
    ]
    report = markdown(records)
    assert "| 64 callers: pairs/s | 150 | 100 <sub>1x2</sub> | 1.50 (mosec) |" in report
    assert "bentoml/1x2" in report
    assert "ServerFailed: gone" in report
    assert failures(records[:3]) == []
