from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.autoscaling import ByWork
from deployments.ingress import CALLS_PER_MODEL
from deployments.serve_config import deployment_names, read_config, read_settings
from deployments.settings import PLACEHOLDER, GroupCommitSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import ConfigError

SHIPPED = ["serve_config.yaml", "deploy/serve_config.gpu.yaml"]
IN_DEPLOYMENT = "applications[0].deployments[0]"
POLICY = {"policy_function": "deployments.autoscaling:ByWork"}


def read(tmp_path: Path, deployment: Any = None, application: dict[str, Any] | None = None, **more: Any) -> Any:
    """Read a configuration with these options of a deployment and an application, and with more top-level keys."""
    base = {"name": "munjang", "import_path": "deployments.graph:build", "args": {}}
    deployments = [] if deployment is None else [deployment]
    path = tmp_path / "config.yaml"
    content = {"applications": [base | {"deployments": deployments} | (application or {})]} | more
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return read_config(path)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"num_replica": 2}, "num_replica"),
        ({"autoscaling_config": {"max_replica": 2}}, "autoscaling_config.max_replica"),
        ({"autoscaling_config": {"policy": {**POLICY, "kwargs": {}}}}, "autoscaling_config.policy.kwargs"),
        ({"ray_actor_options": {"num_gpu": 1}}, "ray_actor_options.num_gpu"),
        ({"logging_config": {"level": "INFO"}}, "logging_config.level"),
        ({"backpressure_config": {"status": 429}}, "backpressure_config.status"),
        ({"request_router_config": {"router": "a:b"}}, "request_router_config.router"),
        ({"gang_scheduling_config": {"gang_size": 1, "size": 1}}, "gang_scheduling_config.size"),
        (
            {"deployment_actors": [{"name": "a", "actor_class": "a:b", "class": "a:b"}]},
            "deployment_actors[0].class",
        ),
    ],
)
def test_an_unknown_key_of_a_deployment_is_named_with_its_place(tmp_path: Path, options: Any, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {"name": "StsEncoder"} | options)
    assert f"config.yaml: {IN_DEPLOYMENT}.{place}: unknown key" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"http_option": {}}, "http_option"),
        ({"http_options": {"prot": 8000}}, "http_options.prot"),
        ({"grpc_options": {"prot": 9000}}, "grpc_options.prot"),
        ({"logging_config": {"log_levle": "INFO"}}, "logging_config.log_levle"),
        ({"tracing_config": {"enable": True}}, "tracing_config.enable"),
        ({"controller_options": {"env": {}}}, "controller_options.env"),
        ({"application": {"routeprefix": "/"}}, "applications[0].routeprefix"),
        ({"application": {"logging_config": {"level": 1}}}, "applications[0].logging_config.level"),
        ({"application": {"autoscaling_policy": POLICY | {"x": 1}}}, "applications[0].autoscaling_policy.x"),
        (
            {"application": {"autoscaling_policy": POLICY | {"policy_kwargs": {"target_delay": 1}}}},
            "applications[0].autoscaling_policy.policy_kwargs.target_delay",
        ),
    ],
)
def test_an_unknown_key_elsewhere_is_named_with_its_place(tmp_path: Path, content: Any, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **content)
    assert f"{place}: unknown key" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"num_replicas": "many"}, ""),
        ({"max_ongoing_requests": 0}, ".max_ongoing_requests"),
        ({"max_surge_percent": 101}, ".max_surge_percent"),
        ({"autoscaling_config": {"max_replicas": "two"}}, ".autoscaling_config.max_replicas"),
        ({"autoscaling_config": {"min_replicas": 3, "max_replicas": 2}}, ".autoscaling_config"),
        ({"ray_actor_options": {"num_gpus": -1}}, ".ray_actor_options.num_gpus"),
        ({"graceful_shutdown_timeout_s": "soon"}, ".graceful_shutdown_timeout_s"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, options: Any, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {"name": "StsEncoder"} | options)
    assert f"{IN_DEPLOYMENT}{place}: " in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (POLICY | {"policy_kwargs": {"target_delay_s": 0}}, r"policy_kwargs\.target_delay_s: 0 is no number above 0"),
        (POLICY | {"policy_kwargs": {"target_busy": "all"}}, r"policy_kwargs\.target_busy: 'all' is no number above 0"),
        (POLICY | {"policy_kwargs": [1]}, "policy_kwargs: "),
        ({"policy_function": "deployments.autoscaling:by_waiting_work"}, "no attribute 'by_waiting_work'"),
        ({"policy_function": "deployments.scaling:ByWork"}, "No module named 'deployments.scaling'"),
    ],
)
def test_a_policy_that_serve_could_not_make_is_refused(tmp_path: Path, policy: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"applications\[0\]\.autoscaling_policy.*{fault}"):
        read(tmp_path, application={"autoscaling_policy": policy})


def test_every_fault_is_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"http_option: unknown key; .*no deployment StsEncode"):
        read(tmp_path, {"name": "StsEncode"}, http_option={})


def test_an_unknown_deployment_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {"name": "StsEncode"})
    assert f"{IN_DEPLOYMENT}.name: no deployment StsEncode" in str(caught.value)
    assert all(name in str(caught.value) for name in ("StsTokenizer", "QaExtractor", "PersonaChat", "Ingress"))


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("applications:\n- name: a\n  import_path: b\n  name: c\n", "name", 4),
        ("applications: []\nhttp_options: {}\napplications: []\n", "applications", 3),
        ("http_options: {port: 1, port: 2}\n", "port", 1),
    ],
)
def test_a_key_that_is_there_twice_is_named_with_its_line(tmp_path: Path, text: str, key: str, line: int) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"the key {key} is there twice\n.*line {line},"):
        read_config(path)


def test_a_deployment_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = [{"name": "StsEncoder", "num_replicas": count} for count in (1, 2)]
    with pytest.raises(ConfigError, match=r"applications\[0\]\.deployments\[1\]\.name: StsEncoder is there twice"):
        read(tmp_path, application={"deployments": twice})


@pytest.mark.parametrize("deployment", [{}, 3, {"name": 3}])
def test_a_deployment_without_a_name_is_refused(tmp_path: Path, deployment: Any) -> None:
    with pytest.raises(ConfigError, match=r"deployments\[0\]"):
        read(tmp_path, deployment)


def test_another_graph_may_have_other_deployments(tmp_path: Path) -> None:
    assert read(tmp_path, {"name": "Other"}, {"import_path": "other.graph:build"})


def test_what_serve_knows_is_accepted(tmp_path: Path) -> None:
    options = {
        "name": "StsEncoder",
        "user_config": {"any": {"key": 1}},
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 2, "policy": POLICY},
        "ray_actor_options": {"num_cpus": 1, "label_selector": {"any": "label"}, "resources": {"any": 1}},
    }
    config = read(tmp_path, options, {"autoscaling_policy": POLICY}, tracing_config={"enabled": False})
    assert config["applications"][0]["deployments"] == [options]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_scales_by_work_with_as_many_models_as_the_calls_of_an_ingress_keep_busy(
    name: str,
) -> None:
    application = read_config(ROOT / name)["applications"][0]
    policy = application["autoscaling_policy"]
    assert policy["policy_function"] == POLICY["policy_function"]
    per_ingress = ByWork(**policy.get("policy_kwargs", {})).models_per_ingress
    for task in ("sts", "cola", "qa"):
        calls = GroupCommitSettings(**application["args"][task].get("group_commit", {})).max_calls
        assert per_ingress == calls / CALLS_PER_MODEL


def test_on_a_cluster_no_deployment_has_the_delays_of_serve() -> None:
    for deployment in read_config(ROOT / "deploy" / "serve_config.gpu.yaml")["applications"][0]["deployments"]:
        delays = {"metrics_interval_s", "look_back_period_s", "upscale_delay_s", "downscale_delay_s"}
        assert delays <= set(deployment["autoscaling_config"])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_is_valid(name: str) -> None:
    config = read_config(ROOT / name)
    args = deepcopy(config["applications"][0]["args"])
    for task in ("sts", "cola", "qa"):
        args[task]["checkpoint"] = args[task]["checkpoint"].replace(PLACEHOLDER, "0" * 40)
    read_settings(ROOT / name, args)


def test_a_placeholder_for_a_commit_is_refused() -> None:
    path = ROOT / "deploy" / "serve_config.gpu.yaml"
    with pytest.raises(ConfigError, match=r"cola\.checkpoint: .*full hash"):
        read_settings(path, read_config(path)["applications"][0]["args"])


def test_on_a_cluster_tokenizers_and_ingress_run_on_cpus_and_models_on_shared_gpus() -> None:
    config = read_config(ROOT / "deploy" / "serve_config.gpu.yaml")
    by_name = {one["name"]: one for one in config["applications"][0]["deployments"]}
    assert set(by_name) == deployment_names()
    for name, deployment in by_name.items():
        options, is_model = deployment["ray_actor_options"], name in {"StsEncoder", "ColaClassifier", "QaExtractor"}
        assert options["label_selector"] == {"munjang/pool": "gpu" if is_model else "cpu"}
        assert 0 < options["num_gpus"] < 1 if is_model else "num_gpus" not in options
        assert deployment["autoscaling_config"]["min_replicas"] >= 2
        assert deployment["max_replicas_per_node"] >= 1
