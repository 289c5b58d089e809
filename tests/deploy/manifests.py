"""Read the Kubernetes manifests, and make a strict JSON schema of a CustomResourceDefinition."""

from pathlib import Path
from typing import Any

import yaml

from pipelines.checkpoints.resolve import ROOT

FOLDER = ROOT / "deploy" / "kuberay"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def environment() -> dict[str, str]:
    """The variables of deploy/serve.env."""
    lines = (ROOT / "deploy" / "serve.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The head and all groups of workers of a Ray cluster."""
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def crd_schema(folder: Path, kind: str) -> Any:
    """The schema of version v1 of a kind of KubeRay, in which unknown keys are errors."""
    crd = yaml.safe_load((folder / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8"))
    (version,) = [one for one in crd["spec"]["versions"] if one["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    return _strict(schema)


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    strict = {key: _strict(value) for key, value in schema.items() if key not in ("default", "format")}
    properties = schema.get("properties")
    if isinstance(properties, dict) and schema.get("type") == "object":
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
        given = {name for name, one in properties.items() if isinstance(one, dict) and "default" in one}
        if isinstance(schema.get("required"), list):
            strict["required"] = [name for name in schema["required"] if name not in given]
    return strict
