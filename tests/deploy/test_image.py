"""The image can't be built in a test, so its Dockerfile is read."""

import shlex

import pytest

from deployments.exposure import HAPROXY
from pipelines.checkpoints.resolve import ROOT
from tests.deploy.manifests import environment

TEXT = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
STEPS = [tuple(line.split(maxsplit=1)) for line in LINES if not line.startswith(" ")]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def copied() -> list[str]:
    return [source for copy in arguments("COPY") for source in copy.split()[:-1]]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_is_sent_to_the_build(source: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / source).exists()
    assert f"!{source}" in ignored


def test_nothing_is_sent_to_the_build_unless_it_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_has_the_environment_of_the_server() -> None:
    variables = dict(word.split("=", 1) for step in arguments("ENV") for word in shlex.split(step))
    own = {HAPROXY, "MUNJANG_CACHE", "PYTHONUNBUFFERED"}
    assert {name: value for name, value in variables.items() if name not in own} == environment()
    assert variables[HAPROXY] == "/app/deploy/haproxy"


def test_the_last_user_is_not_root() -> None:
    assert arguments("USER")[-1] == "munjang"


def test_the_image_is_slim_for_cpus_unless_told_otherwise_and_has_the_pinned_versions() -> None:
    assert arguments("FROM")[0].endswith("-slim-bookworm")
    assert "TORCH=cpu" in arguments("ARG")
    assert all("--constraint constraints.txt" in step for step in arguments("RUN") if "pip install" in step)
    (torch,) = [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith("torch=")
    ]
    assert f'"{torch}"' in TEXT


def test_it_serves_on_all_addresses_which_needs_a_key() -> None:
    assert '"munjang", "serve", "serve_config.yaml", "--host", "0.0.0.0"' in arguments("CMD")[-1]
    assert "ALLOW" not in TEXT.upper()
