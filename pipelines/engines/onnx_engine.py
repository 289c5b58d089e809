"""Forward passes in ONNX Runtime on the CPU: without PyTorch, whose import takes two seconds and 200 MB.

Threads are set on purpose. With one thread a batch runs on its caller's and nothing spins; with more, those that wait
sleep, because the cores belong to other replicas too. The graph is written by `pipelines.engines.onnx_export`.
"""

import ctypes
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.engines.choice import ONNX, Choice
from pipelines.format.loading import refusing_damage
from pipelines.text.token_batch import TokenBatch

PAD_ID = "munjang.pad_id"


class OnnxEngine:
    """One graph. Its activations are quantised, if at all, by fixed scales, and its padding is masked."""

    def __init__(self, session: onnxruntime.InferenceSession, choice: Choice) -> None:
        self._session = session
        self._inputs = {tensor.name for tensor in session.get_inputs()}
        self._pad_id = int(session.get_modelmeta().custom_metadata_map[PAD_ID])
        self.name = choice.name
        self.slots = choice.slots

    @classmethod
    def load(cls, folder: Path, choice: Choice) -> Self:
        """The graph in `folder` of the chosen dtype. Raises CheckpointDamaged where it can't be read."""
        path = folder / ONNX[choice.dtype]
        with refusing_damage(path):
            session = onnxruntime.InferenceSession(path, _options(choice.threads), ["CPUExecutionProvider"])
            _return_memory()
            return cls(session, choice)

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        arrays = {"input_ids": batch.padded_ids(self._pad_id), "attention_mask": batch.mask.astype(np.int64)}
        if "token_type_ids" in self._inputs:
            arrays["token_type_ids"] = batch.padded_types()
        return tuple(self._session.run(names, arrays))


def _return_memory() -> None:
    """Give the system back what preparing the weights took; glibc, where that is the C library, would keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without int8 dot products (VNNI) an x64 CPU adds products of int8 in 16 bits, which can overflow: take an exact,
    # slower kernel there. Nothing changes elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.enable_mem_pattern = False  # it keeps a plan for every shape ever seen
    return options
