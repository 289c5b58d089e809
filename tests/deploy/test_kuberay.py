import os
import re
import shlex
import shutil
import subprocess
from argparse import ArgumentParser
from copy import deepcopy
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

import pytest
import ray
import yaml
from jsonschema import Draft202012Validator

from deployments.jobs.place import PASSWORD_VARIABLE
from deployments.settings import JobSettings
from pipelines.checkpoints.resolve import ROOT
from pipelines.command_line import COMMANDS
from tests.deploy.manifests import FOLDER, crd_schema, documents, environment, groups

CRDS = os.environ.get("MUNJANG_KUBERAY_CRDS")
KUBECTL = shutil.which("kubectl")
SERVICE = documents("rayservice.yaml")[0]
KUSTOMIZATION = yaml.safe_load((ROOT / "deploy" / "kustomization.yaml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "deploy" / "serve_config.gpu.yaml").read_text(encoding="utf-8"))
JOB = documents("rayjob.yaml")[0]
BULK = documents("rayjob-bulk.yaml")[0]
SERVING = SERVICE["spec"]["rayClusterConfig"]
TRAINING = JOB["spec"]["rayClusterSpec"]
SCORING = BULK["spec"]["rayClusterSpec"]
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
needs_crds = pytest.mark.skipif(CRDS is None, reason="MUNJANG_KUBERAY_CRDS names no folder with KubeRay's CRDs")


def containers(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"]["containers"][0] for group in groups(cluster)]


@pytest.fixture(scope="module")
def composed() -> dict[str, dict[str, Any]]:
    """By kind, what `kubectl apply --kustomize deploy` would send; the last one of each kind."""
    if KUBECTL is None:
        pytest.skip("there is no kubectl, which has Kustomize")
    command = [KUBECTL, "kustomize", str(ROOT / "deploy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}


def test_the_service_gets_configuration_and_environment_from_the_files_of_the_server() -> None:
    environment_map, config_map = KUSTOMIZATION["configMapGenerator"]
    (replacement,) = KUSTOMIZATION["replacements"]
    assert environment_map["envs"] == ["serve.env"]
    assert config_map["files"] == ["serveConfigV2=serve_config.gpu.yaml"]
    assert replacement["source"] == {
        "kind": "ConfigMap",
        "name": config_map["name"],
        "fieldPath": "data.serveConfigV2",
    }
    assert replacement["targets"][0]["fieldPaths"] == ["spec.serveConfigV2"]
    for container in containers(SERVING):
        assert container["envFrom"] == [{"configMapRef": {"name": environment_map["name"]}}]


def test_what_kustomize_composes_is_the_configuration_of_the_server(composed: dict[str, Any]) -> None:
    service, environment_map = composed["RayService"], composed["ConfigMap"]
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == CONFIG
    assert environment_map["data"] == environment() | {"RAY_SERVE_HAPROXY_BINARY_PATH": "/app/deploy/haproxy"}
    (image,) = KUSTOMIZATION["images"]
    for container in containers(service["spec"]["rayClusterConfig"]):
        assert container["envFrom"] == [{"configMapRef": {"name": environment_map["metadata"]["name"]}}]
        assert container["image"] == f"{image['newName']}:{image['newTag']}"


def test_the_version_of_ray_is_the_installed_one() -> None:
    assert {one["rayVersion"] for one in (SERVING, TRAINING, SCORING)} == {ray.__version__}


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def test_a_worker_that_is_to_end_has_the_time_to_move_its_replicas_and_ends_in_its_grace_period() -> None:
    for group in SERVING["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert 600 < float(variables(pod["containers"][0])[DRAIN]) < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("cluster", [SERVING, TRAINING, SCORING], ids=["service", "training", "bulk"])
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
    for deployment in CONFIG["applications"][0]["deployments"]:
        options, least = deployment["ray_actor_options"], deployment["autoscaling_config"]["min_replicas"]
        pool = needed[options["label_selector"]["munjang/pool"]]
        pool["cpu"] += options["num_cpus"] * least
        pool["nvidia.com/gpu"] += options.get("num_gpus", 0) * least
    for name, group in labels.items():
        given = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        for resource, amount in needed[name].items():
            assert amount <= float(given.get(resource, 0)) * group["minReplicas"]


def test_the_image_has_the_program_that_probes_of_workers_call() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert "--no-install-recommends wget" in dockerfile
    for container in containers(SERVING)[1:]:
        shell, option, script = container["readinessProbe"]["exec"]["command"]
        subprocess.run([shell, "-n", option, script], check=True)
        assert {command.split()[0] for command in script.split("&&")} == {"wget"}


def test_policies_are_about_the_pods_of_the_manifests() -> None:
    labels = [group["template"]["metadata"]["labels"] for group in groups(SERVING)]
    labels += [documents("redis.yaml")[1]["spec"]["template"]["metadata"]["labels"]]
    for policy in documents("networkpolicy.yaml"):
        assert policy["spec"]["podSelector"]["matchLabels"] in labels
    assert all(one in ({"app": "munjang"}, {"app": "munjang-redis"}) for one in labels)


def test_the_page_creates_every_secret() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8").replace("\\\n", " ")
    created = dict(re.findall(r"create secret generic (\S+) +--from-(?:literal|file)=([^=\s]+)", page))
    volumes = [volume for group in groups(SERVING) for volume in group["template"]["spec"]["volumes"]]
    password = SERVING["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} == {"munjang-keys"}
    assert created == {
        password["name"]: password["key"],
        SERVING["authOptions"]["secretName"]: "auth_token",
        "munjang-keys": "keys.toml",
    }


def test_workers_get_the_password_of_redis_for_the_jobs_that_the_page_puts_there() -> None:
    password = SERVING["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
    for container in containers(SERVING)[1:]:
        secrets = {one["name"]: one["valueFrom"] for one in container["env"] if "valueFrom" in one}
        assert secrets == {PASSWORD_VARIABLE: password}
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n( +jobs:.+?)```", page, re.DOTALL)
    jobs = JobSettings.model_validate(yaml.safe_load(block)["jobs"])
    url = urlsplit(str(jobs.database))
    service = documents("redis.yaml")[0]
    assert (url.scheme, url.hostname) == ("redis", service["metadata"]["name"])
    assert url.port == service["spec"]["ports"][0]["port"]
    assert url.path not in ("", "/", "/0")  # Ray's state is in 0
    (command,) = [one["command"][-1] for one in documents("redis.yaml")[1]["spec"]["template"]["spec"]["containers"]]
    assert "--appendonly yes" in command


def test_the_kustomization_names_existing_files() -> None:
    named = [*KUSTOMIZATION["resources"], *KUSTOMIZATION["configurations"]]
    assert all((FOLDER.parent / name).is_file() for name in named)


def test_the_command_line_accepts_the_command_of_the_job() -> None:
    program, *words = shlex.split(JOB["spec"]["entrypoint"])
    name = " ".join(words[:2])
    parser = ArgumentParser(exit_on_error=False)
    resolve_name(COMMANDS[name].target).add_options(parser)
    assert program == "munjang"
    assert int(parser.parse_args(words[2:]).num_workers) == TRAINING["workerGroupSpecs"][0]["replicas"]


def test_the_command_line_accepts_the_command_of_the_bulk_job() -> None:
    program, name, *words = shlex.split(BULK["spec"]["entrypoint"])
    parser = ArgumentParser(exit_on_error=False)
    resolve_name(COMMANDS[name].target).add_options(parser)
    parser.parse_args(words)
    assert program == "munjang"


@needs_crds
def test_what_kustomize_composes_has_the_schema_of_kuberay(composed: dict[str, Any]) -> None:
    validator = Draft202012Validator(crd_schema(Path(str(CRDS)), "RayService"))
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(composed["RayService"])]
    assert faults == []


@needs_crds
@pytest.mark.parametrize("manifest", [SERVICE, JOB, BULK], ids=["service", "training", "bulk"])
def test_a_manifest_has_the_schema_of_kuberay(manifest: dict[str, Any]) -> None:
    validator = Draft202012Validator(crd_schema(Path(str(CRDS)), manifest["kind"]))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)] == []


@needs_crds
def test_a_misspelt_key_of_a_manifest_is_found() -> None:
    wrong = deepcopy(SERVICE)
    wrong["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplica"] = 3
    (error,) = Draft202012Validator(crd_schema(Path(str(CRDS)), "RayService")).iter_errors(wrong)
    assert "maxReplica" in error.message
