import os
import shlex
from argparse import ArgumentParser
from copy import deepcopy
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft202012Validator

from pipelines.checkpoints.resolve import ROOT
from pipelines.command_line import COMMANDS
from tests.deploy.manifests import FOLDER, crd_schema, documents, environment, groups

CRDS = os.environ.get("MUNJANG_KUBERAY_CRDS")
SERVICE = documents("rayservice.yaml")[0]
JOB = documents("rayjob.yaml")[0]
SERVING = SERVICE["spec"]["rayClusterConfig"]
TRAINING = JOB["spec"]["rayClusterSpec"]
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
needs_crds = pytest.mark.skipif(CRDS is None, reason="MUNJANG_KUBERAY_CRDS names no folder with KubeRay's CRDs")


def containers(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"]["containers"][0] for group in groups(cluster)]


def test_the_service_has_the_configuration_of_the_file() -> None:
    file = yaml.safe_load((ROOT / "deploy" / "serve_config.gpu.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(SERVICE["spec"]["serveConfigV2"]) == file


def test_the_version_of_ray_is_the_installed_one() -> None:
    assert {SERVING["rayVersion"], TRAINING["rayVersion"]} == {ray.__version__}


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_head_and_workers_have_the_environment_of_the_server() -> None:
    expected = environment() | {"RAY_SERVE_HAPROXY_BINARY_PATH": "/app/deploy/haproxy"}
    head, *workers = map(variables, containers(SERVING))
    assert head == expected
    for worker in workers:
        assert worker == expected | {DRAIN: worker[DRAIN]}


def test_a_worker_that_is_to_end_has_the_time_to_move_its_replicas_and_ends_in_its_grace_period() -> None:
    for group in SERVING["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert 600 < float(variables(pod["containers"][0])[DRAIN]) < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("cluster", [SERVING, TRAINING], ids=["service", "job"])
def test_pods_have_limits_and_no_root(cluster: dict[str, Any]) -> None:
    for group, container in zip(groups(cluster), containers(cluster), strict=True):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert cluster["authOptions"]["mode"] == "token"


def test_a_stopping_pod_has_the_time_of_the_longest_request() -> None:
    for group in groups(SERVING):
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] > 600
    assert SERVICE["spec"]["rayClusterDeletionDelaySeconds"] > 600


def test_every_label_that_a_deployment_selects_is_that_of_a_group_with_room_for_its_replicas() -> None:
    labels = {group["labels"]["munjang/pool"]: group for group in SERVING["workerGroupSpecs"]}
    needed = {pool: {"cpu": 0.0, "nvidia.com/gpu": 0.0} for pool in labels}
    for deployment in yaml.safe_load(SERVICE["spec"]["serveConfigV2"])["applications"][0]["deployments"]:
        options, least = deployment["ray_actor_options"], deployment["autoscaling_config"]["min_replicas"]
        pool = needed[options["label_selector"]["munjang/pool"]]
        pool["cpu"] += options["num_cpus"] * least
        pool["nvidia.com/gpu"] += options.get("num_gpus", 0) * least
    for name, group in labels.items():
        given = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        for resource, amount in needed[name].items():
            assert amount <= float(given.get(resource, 0)) * group["minReplicas"]


def test_probes_of_workers_need_no_program_but_python() -> None:
    for container in containers(SERVING)[1:]:
        python, option, code = container["readinessProbe"]["exec"]["command"]
        assert (python, option) == ("python", "-c")
        compile(code, "probe", "exec")


def test_every_secret_is_in_the_example() -> None:
    keys = {one["metadata"]["name"]: set(one["stringData"]) for one in documents("secrets.example.yaml")}
    volumes = [volume for group in groups(SERVING) for volume in group["template"]["spec"]["volumes"]]
    mounted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    password = SERVING["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert mounted == {"munjang-keys"}
    assert password["key"] in keys[password["name"]]
    assert "auth_token" in keys[SERVING["authOptions"]["secretName"]]
    assert "keys.toml" in keys["munjang-keys"]


def test_the_kustomization_names_existing_files() -> None:
    assert all((FOLDER / name).is_file() for name in documents("kustomization.yaml")[0]["resources"])


def test_the_command_line_accepts_the_command_of_the_job() -> None:
    program, *words = shlex.split(JOB["spec"]["entrypoint"])
    name = " ".join(words[:2])
    parser = ArgumentParser(exit_on_error=False)
    resolve_name(COMMANDS[name].target).add_options(parser)
    assert program == "munjang"
    assert int(parser.parse_args(words[2:]).num_workers) == TRAINING["workerGroupSpecs"][0]["replicas"]


@needs_crds
@pytest.mark.parametrize("manifest", [SERVICE, JOB], ids=["service", "job"])
def test_a_manifest_has_the_schema_of_kuberay(manifest: dict[str, Any]) -> None:
    validator = Draft202012Validator(crd_schema(Path(str(CRDS)), manifest["kind"]))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)] == []


@needs_crds
def test_a_misspelt_key_of_a_manifest_is_found() -> None:
    wrong = deepcopy(SERVICE)
    wrong["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplica"] = 3
    (error,) = Draft202012Validator(crd_schema(Path(str(CRDS)), "RayService")).iter_errors(wrong)
    assert "maxReplica" in error.message
