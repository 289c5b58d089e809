"""Checkpoints that are not in the project's format, on a server without the flags of deploy/serve.env."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import torch
from sentence_transformers import CrossEncoder

from tests.checkpoint_factory import make_checkpoint
from tests.serve.server import Server, environment, running, write_config

pytestmark = pytest.mark.serve

PAIR = ("오늘 과제는 코딩 과제입니다.", "저도 그 의견 좋습니다.")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    kinds = {"sts": "cross-encoder", "cola": "classifier", "qa": "extractor"}
    return {task: make_checkpoint(kind, folder / task) for task, kind in kinds.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sources: dict[str, Path]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("other")
    arguments = [word for task, source in sources.items() for word in (f"--{task}", str(source))]
    with running(
        write_config(folder), environment(fast=False, MUNJANG_CACHE=str(folder / "cache")), *arguments
    ) as server:
        yield server


def test_a_cross_encoder_scores_on_the_scale_of_klue_sts(server: Server, sources: dict[str, Path]) -> None:
    body = {"sentence_1": PAIR[0], "sentence_2": PAIR[1]}
    answer = httpx2.post(f"{server.url}/pred/sentences/", json=body, timeout=60).json()
    raw = CrossEncoder(str(sources["sts"]), device="cpu").predict([PAIR], activation_fn=torch.nn.Identity())
    assert 0 <= answer["score"] <= 5
    assert answer["score"] == pytest.approx(min(max(float(raw[0]), 0), 5), abs=1e-5)
    assert answer["pred"] == int(answer["score"] >= 3.0)
    info = httpx2.get(f"{server.url}/info", timeout=60).json()["tasks"]["sts"]
    assert (info["kind"], info["threshold"]) == ("cross-encoder", 3.0)


def test_imported_transformers_answer_the_other_routes(server: Server) -> None:
    prob = httpx2.post(f"{server.url}/generate", json={"passage": "the museum"}, timeout=60).json()["prob"]
    assert 0 < prob < 1
    context = "시립 도서관은 오늘 과제 회의를 합니다."
    answer = httpx2.post(f"{server.url}/api", json={"question": "오늘?", "context": context}, timeout=60).json()
    assert answer["answer"] in context
    assert answer["answer"]


def test_a_server_without_the_flags_logs_one_warning(server: Server) -> None:
    assert server.output.count("started without RAY_SERVE_THROUGHPUT_OPTIMIZED and RAY_SERVE_ENABLE_HA_PROXY") == 1
