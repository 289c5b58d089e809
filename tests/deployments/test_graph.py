import itertools
import subprocess
import sys

import pytest
import ray.serve  # noqa: F401  must come before its private modules, which import each other
from ray.serve._private.build_app import build_app

from deployments import models
from deployments.autoscaling import INGRESS, TASKS
from deployments.graph import build
from deployments.settings import IngressSettings, Settings
from deployments.tokenizer import Tokenizer

DEFAULTS = Settings()
DEPLOYMENTS = {
    "StsTokenizer",
    "StsEncoder",
    "ColaTokenizer",
    "ColaClassifier",
    "QaTokenizer",
    "QaExtractor",
    "PersonaChat",
    "JobRunner",
    "Ingress",
}


def deployments(settings: Settings = DEFAULTS) -> dict[str, object]:
    built = build_app(build(settings), name="munjang")
    return {deployment.name: deployment for deployment in built.deployments}


def test_tokenizers_models_chat_job_runner_and_ingress_are_separate_deployments() -> None:
    assert set(deployments()) == DEPLOYMENTS


def test_all_replicas_together_fit_two_cores() -> None:
    cpus = [
        deployment.ray_actor_options["num_cpus"] * deployment._deployment_config.autoscaling_config.max_replicas  # type: ignore[attr-defined]
        for deployment in deployments().values()
    ]
    assert sum(cpus) * 2 <= 2  # twice, because an update runs new replicas beside the old ones


def test_an_update_stops_no_replica_before_its_successor_is_ready() -> None:
    for deployment in deployments().values():
        assert deployment._deployment_config.max_surge_percent == 100  # type: ignore[attr-defined]


def test_every_deployment_has_bounds_limits_and_a_graceful_shutdown() -> None:
    for deployment in deployments().values():
        config = deployment._deployment_config  # type: ignore[attr-defined]
        assert config.autoscaling_config.min_replicas == 1
        assert config.autoscaling_config.max_replicas >= 2
        assert config.autoscaling_config.metrics_interval_s <= 2
        assert config.max_ongoing_requests > 5
        assert config.max_queued_requests > 0
        assert config.graceful_shutdown_timeout_s > 0
        assert config.health_check_period_s > 0


def test_the_policy_knows_the_deployments_of_each_task_and_the_ingress() -> None:
    assert {*itertools.chain(*TASKS), INGRESS} == DEPLOYMENTS - {"PersonaChat", "JobRunner"}
    for tokenizer, model in TASKS:
        assert Tokenizer.name in tokenizer
        assert issubclass(getattr(models, model).func_or_class, models.ModelReplica)


def test_chats_that_hang_leave_the_ingress_room_for_other_tasks() -> None:
    chat, ingress = (deployments()[name]._deployment_config for name in ("PersonaChat", "Ingress"))  # type: ignore[attr-defined]
    at_once = chat.max_ongoing_requests * chat.autoscaling_config.max_replicas + chat.max_queued_requests
    assert at_once < 0.75 * ingress.max_ongoing_requests


@pytest.mark.parametrize(("deadline_s", "upload_deadline_s"), [(1.0, 2.0), (50.0, 600.0), (120.0, 60.0)])
def test_a_stopping_replica_has_time_to_finish_its_requests(deadline_s: float, upload_deadline_s: float) -> None:
    by_name = deployments(Settings(ingress=IngressSettings(deadline_s=deadline_s, upload_deadline_s=upload_deadline_s)))
    longest_s = {"PersonaChat": deadline_s, "Ingress": max(deadline_s, upload_deadline_s)}
    for name, seconds in longest_s.items():
        assert by_name[name]._deployment_config.graceful_shutdown_timeout_s > seconds  # type: ignore[attr-defined]


def test_the_annotation_of_the_settings_is_a_class_and_not_a_string() -> None:
    assert build.__annotations__["settings"] is Settings


@pytest.mark.slow
def test_importing_the_graph_does_not_start_ray_or_import_torch() -> None:
    code = (
        "import sys, ray, deployments.graph;"
        "sys.exit(bool(ray.is_initialized() or {'torch', 'openai'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
