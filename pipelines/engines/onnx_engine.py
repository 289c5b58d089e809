"""Forward passes in ONNX Runtime on the CPU, without PyTorch, which takes two seconds and 200 MB to import.

The number of threads is set explicitly. With one thread, a batch runs on the calling thread. With more threads, waiting
threads sleep instead of spinning, because other replicas use the same cores. `pipelines.engines.onnx_export` writes the
graph.
"""

from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.engines.choice import ONNX, Choice, multiplies_int8
from pipelines.engines.memory import return_memory
from pipelines.format.loading import refusing_damage
from pipelines.text.token_batch import TokenBatch

PAD_ID = "munjang.pad_id"
EXACT_ON_X64 = "session.x64quantprecision"


class OnnxEngine:
    """Runs one ONNX graph. Padding is masked, and in an int8 graph the scales of activations are fixed."""

    def __init__(self, session: onnxruntime.InferenceSession, choice: Choice) -> None:
        self._session = session
        self._inputs = {tensor.name for tensor in session.get_inputs()}
        self._pad_id = int(session.get_modelmeta().custom_metadata_map[PAD_ID])
        self.name = choice.name
        self.slots = choice.slots

    @classmethod
    def load(cls, folder: Path, choice: Choice) -> Self:
        """Load the graph of the chosen dtype from `folder`. Raises CheckpointDamaged if it can't be read."""
        path = folder / ONNX[choice.dtype]
        with refusing_damage(path):
            session = onnxruntime.InferenceSession(path, session_options(choice.threads), ["CPUExecutionProvider"])
            return_memory()  # what the preparation of the weights took
            return cls(session, choice)

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        arrays = {"input_ids": batch.padded_ids(self._pad_id), "attention_mask": batch.mask.astype(np.int64)}
        if "token_type_ids" in self._inputs:
            arrays["token_type_ids"] = batch.padded_types()
        return tuple(self._session.run(names, arrays))


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options for sessions on this machine, with `threads` threads per batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An x64 CPU without int8 dot products (VNNI) adds int8 products in 16 bits, which can overflow. This option selects
    # an exact but slower kernel. With dot products it would select that kernel, too, and take more than twice the time.
    if not multiplies_int8():
        options.add_session_config_entry(EXACT_ON_X64, "1")
    options.enable_mem_pattern = False  # it would keep a memory plan for every input shape
    return options
