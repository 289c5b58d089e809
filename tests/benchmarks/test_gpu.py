import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SENTENCES = [
    "오늘 과제는 코딩 과제입니다.",
    "내일은 비가 온다고 합니다.",
    "숙소 위치가 찾기 쉽고 아주 좋았습니다.",
    "저도 그 의견이 좋습니다.",
]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The output of a run on the CPU with one layer and four sentences."""
    data = tmp_path_factory.mktemp("data")
    rows = "sentence1,sentence2,label\n" + "".join(f"{text},{SENTENCES[0]},1.0\n" for text in SENTENCES)
    (data / "klue_sts").mkdir()
    (data / "klue_sts" / "klue_sts_train.csv.xz").write_bytes(lzma.compress(rows.encode()))
    command = (
        "benchmarks/gpu.py --device cpu --dtypes float32 --layers 1 --rounds 1 --variants padded packed "
        f"--tokens 16 64 --encode-sizes 2 --data {data}"
    )
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def named(lines: list[dict[str, object]], what: str) -> list[dict[str, object]]:
    return [line for line in lines if line["what"] == what]


def test_every_way_to_run_the_engine_is_measured_and_equals_encode(
    lines: list[dict[str, object]],
) -> None:
    engines = named(lines, "engine")
    ways = {(line["engine"], line["batch_tokens"], line["slots"]) for line in engines}
    names = ("torch float32 on cpu", "torch float32 on cpu, packed")
    assert ways == {(name, tokens, slots) for name in names for tokens in (16, 64) for slots in (1, 2)}
    assert {line["parity"] for line in engines} == {1.0}
    assert len(named(lines, "texts")) == len(engines)


def test_the_result_compares_the_best_engine_with_the_matrix_rate_and_encode(
    lines: list[dict[str, object]],
) -> None:
    (result,) = named(lines, "result")
    assert result["share"] == max(line["share"] for line in named(lines, "engine"))
    assert result["times_encode"] > 0


def test_model_flop_counts_the_linear_maps_and_the_attention_of_the_layers(lines: list[dict[str, object]]) -> None:
    (work,) = named(lines, "work")
    linear = 2 * (4 * 768 * 768 + 2 * 768 * 3072) * work["tokens"]
    assert work["sentences"] == len(SENTENCES)
    assert linear < work["model_gflop"] * 1e9 < linear * 1.01  # the sentences are short, so attention adds under 1 %
