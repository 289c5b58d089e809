"""Trace a model for ONNX once in a run of tests, however often tests import it: tracing takes seconds."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
from torch import nn

from pipelines.engines import onnx_export

PLAIN = (int, float, str, tuple, type(None))
LABELS = {"id2label", "label2id"}
Trace = Callable[[nn.Module, tuple[str, ...], tuple[str, ...]], onnx.ModelProto]


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep the graph of every traced model in `folder`, which processes may share, and use it for an equal model."""
    trace: Trace = onnx_export._trace

    def trace_once(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> onnx.ModelProto:
        path = folder / f"{digest(module.eval().float(), inputs, outputs)}.onnx"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            onnx.save(trace(module, inputs, outputs), part)
            part.rename(path)
        return onnx.load(path)

    with patch.object(onnx_export, "_trace", trace_once):
        yield


def digest(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
    """Hash all that a graph depends on: classes, attributes and weights of the modules, and the names at both ends.

    The path that the model was loaded from and the names of its labels are not among it.
    """
    found = hashlib.sha256(repr((module, inputs, outputs)).encode())
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if isinstance(value, PLAIN) and key != "name_or_path"}
        config: Any = getattr(part, "config", None)
        settings = json.loads(config.to_json_string()) if hasattr(config, "to_json_string") else config
        graph = {key: settings[key] for key in settings.keys() - LABELS} if isinstance(settings, dict) else settings
        found.update(repr((name, type(part), plain, json.dumps(graph, default=repr, sort_keys=True))).encode())
    for name, values in module.state_dict().items():
        found.update(repr((name, values.shape)).encode() + values.numpy().tobytes())
    return found.hexdigest()
