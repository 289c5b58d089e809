"""Read a config file of Ray Serve strictly: what Serve would ignore in silence is a ConfigError before anything starts.

Serve's own models say which keys there are and of which types. Most of them ignore unknown keys (`ServeDeploySchema`,
applications, deployments, `http_options`, `grpc_options`, `ray_actor_options`), and a dict passes for
`autoscaling_config` and other sections without any check.
"""

from collections.abc import Hashable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

import ray.serve  # noqa: F401  must come before its private modules, which import each other
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve._private.build_app import build_app
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import ServeDeploySchema

from deployments.autoscaling import ByWork
from deployments.graph import build
from deployments.settings import Settings
from pipelines.errors import ConfigError

GRAPH = "deployments.graph:build"
POLICY = "deployments.autoscaling:ByWork"
UNTYPED: dict[str, type[BaseModel]] = {"autoscaling_policy": AutoscalingPolicy}  # a dict in Serve's model


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config file, with `http_options` and the first application's `args`, which may be empty.

    Raises ConfigError that names the file and every wrong key. `args` is left to `read_settings`.
    """
    config = _read(path)
    applications = config.get("applications")
    if not isinstance(applications, list) or not applications or not isinstance(applications[0], dict):
        raise ConfigError(f"{path}: no applications")
    section(path, config, "http_options")
    section(path, applications[0], "args")
    faults = [*_unknown_keys(ServeDeploySchema, config), *_unknown_deployments(config)]
    if faults := faults or list(dict.fromkeys(_wrong_values(config))):
        raise ConfigError(f"{path}: {'; '.join(faults)}")
    return config


def read_settings(path: Path, args: dict[str, Any]) -> Settings:
    """The typed arguments of the graph. Raises ConfigError that names every wrong key."""
    try:
        return Settings.model_validate(args)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(_faults(error))}") from error


def section(path: Path, mapping: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key, which is added where there is none. Raises ConfigError for anything else there."""
    found = mapping.get(key) or {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {key} is no mapping")
    mapping[key] = found
    return found


class OnceLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML's safe loader would take the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Raises ConstructorError with the line of the second one."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                message = f"the key {key.value} is there twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty for an empty file. Raises ConfigError."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), OnceLoader)  # noqa: S506  a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(config or {}, dict):
        raise ConfigError(f"{path}: no mapping")
    return dict(config or {})


def _unknown_keys(model: type[BaseModel], mapping: dict[Any, Any], place: str = "") -> Iterator[str]:
    for key in mapping:
        if key not in model.model_fields:
            yield f"{place}{key}: unknown key"
    for name, nested, value in _nested(model, mapping):
        yield from _unknown_keys(nested, value, f"{place}{name}.")


def _wrong_values(config: dict[str, Any]) -> Iterator[str]:
    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        yield from _faults(error)
    yield from _wrong_dicts(ServeDeploySchema, config)
    for at, application in enumerate(config["applications"]):
        policy = application.get("autoscaling_policy") if isinstance(application, dict) else None
        if isinstance(policy, dict) and policy.get("policy_function") == POLICY:
            place = f"applications[{at}].autoscaling_policy.policy_kwargs"
            yield from (f"{place}{fault}" for fault in _wrong_kwargs(policy.get("policy_kwargs") or {}))


def _wrong_kwargs(kwargs: Any) -> Iterator[str]:
    """The faults of the policy's settings, which Serve passes on unchecked, and only when the server has started."""
    if not isinstance(kwargs, dict):
        yield ": no mapping"
    elif unknown := kwargs.keys() - {field.name for field in fields(ByWork)}:
        yield from (f".{key}: unknown key" for key in sorted(map(str, unknown)))
    else:
        try:
            ByWork(**kwargs)
        except ValueError as error:
            yield f".{error}"


def _wrong_dicts(model: type[BaseModel], mapping: dict[Any, Any], place: str = "") -> Iterator[str]:
    """The faults of sections for which Serve's models take any dict, though there is a model of their content."""
    for name, nested, value in _nested(model, mapping):
        key = name.partition("[")[0]
        if key in UNTYPED or dict in _types(model.model_fields[key].annotation):
            by_default = AutoscalingConfig.default().model_dump() if mapping.get("num_replicas") == "auto" else {}
            try:
                nested.model_validate(by_default | value if nested is AutoscalingConfig else value)
            except ValidationError as error:
                yield from (f"{place}{name}{'.' * (not fault.startswith(':'))}{fault}" for fault in _faults(error))
            except (AttributeError, ImportError) as error:  # Serve imports the policy that is named
                yield f"{place}{name}: {error}"
        yield from _wrong_dicts(nested, value, f"{place}{name}.")


def _nested(model: type[BaseModel], mapping: dict[Any, Any]) -> Iterator[tuple[str, type[BaseModel], dict[Any, Any]]]:
    """The mappings under those keys whose content has a model of its own, also those in lists."""
    for key, value in mapping.items():
        if key not in model.model_fields or (nested := _model(key, model.model_fields[key].annotation)) is None:
            continue
        if isinstance(value, dict):
            yield key, nested, value
        elif isinstance(value, list):
            yield from ((f"{key}[{at}]", nested, item) for at, item in enumerate(value) if isinstance(item, dict))


def _model(key: str, annotation: Any) -> type[BaseModel] | None:
    models = (one for one in _types(annotation) if isinstance(one, type) and issubclass(one, BaseModel))
    return UNTYPED.get(key) or next(models, None)


def _types(annotation: Any) -> list[Any]:
    """The types in an annotation such as `list[A] | None`. A mapping counts as `dict`, whatever it contains."""
    origin = getattr(annotation, "__origin__", annotation)
    if origin is dict:
        return [dict]
    return [annotation, *(one for part in get_args(annotation) for one in _types(part))]


def _faults(error: ValidationError) -> Iterator[str]:
    """Each fault with its key, such as `applications[0].deployments[2].name: Field required`."""
    for fault in error.errors():
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
        message = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"]
        yield f"{place.removeprefix('.')}: {message}"


def _unknown_deployments(config: dict[str, Any]) -> Iterator[str]:
    for at, application in enumerate(config["applications"]):
        if not isinstance(application, dict) or application.get("import_path") != GRAPH:
            continue
        deployments = application.get("deployments")
        seen: set[str] = set()
        for number, deployment in enumerate(deployments if isinstance(deployments, list) else []):
            if not isinstance(deployment, dict):
                yield f"applications[{at}].deployments[{number}]: no mapping"
                continue
            name = deployment.get("name")
            if not isinstance(name, str):
                continue
            if name not in deployment_names():
                known = ", ".join(sorted(deployment_names()))
                yield f"applications[{at}].deployments[{number}].name: no deployment {name}, only {known}"
            elif name in seen:
                yield f"applications[{at}].deployments[{number}].name: {name} is there twice"
            seen.add(name)


@cache
def deployment_names() -> frozenset[str]:
    """The names in the graph, which are the same for all settings."""
    return frozenset(one.name for one in build_app(build(Settings()), name="munjang").deployments)
