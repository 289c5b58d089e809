"""Forward passes in ONNX Runtime on the CPU, without PyTorch, which takes two seconds and 200 MB to import.

The number of threads is set explicitly. With one thread, a batch runs on the calling thread. With more threads, waiting
threads sleep instead of spinning, because other replicas use the same cores. `pipelines.engines.onnx_export` writes the
graph. When it is loaded, `pipelines.engines.onnx_fusion` makes it faster, and `pipelines.engines.onnx_packing` lets its
layers run without padding.
"""

import logging
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pipelines.engines.choice import ONNX, Choice, multiplies_int8
from pipelines.engines.memory import return_memory
from pipelines.engines.onnx_fusion import fuse
from pipelines.engines.onnx_packing import PLACES, ROWS, pack
from pipelines.format.loading import reason, refusing_damage
from pipelines.text.token_batch import CheckpointRef, TokenBatch

logger = logging.getLogger(__name__)

PAD_ID = "munjang.pad_id"
EXACT_ON_X64 = "session.x64quantprecision"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
PACKED_PADDING_COST = 0.4  # chosen, not fitted: see benchmarks/LOG.md, 2026-11-29
PROVIDERS = ["CPUExecutionProvider"]
SLOWER_FUSIONS = ["SkipLayerNormFusion"]  # SkipLayerNormalization lacks the AVX2 kernel that LayerNormalization has


class OnnxEngine:
    """Runs one ONNX graph. Padding is masked, and in an int8 graph the scales of activations are fixed."""

    def __init__(self, session: onnxruntime.InferenceSession, choice: Choice) -> None:
        self._session = session
        self._inputs = {tensor.name for tensor in session.get_inputs()}
        self._pad_id = int(session.get_modelmeta().custom_metadata_map[PAD_ID])
        self.name = choice.name
        self.slots = choice.slots
        self.padding_cost = PACKED_PADDING_COST if ROWS in self._inputs else 1.0

    @classmethod
    def load(cls, folder: Path, choice: Choice) -> Self:
        """Load the graph of the chosen dtype from `folder`. Raises CheckpointDamaged if it can't be read.

        Its nodes are joined first (`fuse`), and its layers packed (`pack`). If ONNX Runtime does not run the result,
        which is tried with two short items, the graph runs as it is stored, and the log has the reason.
        """
        path = folder / ONNX[choice.dtype]
        with refusing_damage(path):
            try:
                engine = cls(fused_session(path, session_options(choice.threads)), choice)
                engine.outputs(_trial(engine._pad_id))
            except Exception as error:  # whatever ONNX Runtime raises
                engine = cls(onnxruntime.InferenceSession(path, session_options(choice.threads), PROVIDERS), choice)
                logger.warning("%s runs as it is stored, which is slower: %s", path, reason(error))
            return_memory()  # what the preparation of the weights took
            return engine

    def outputs(self, batch: TokenBatch, *names: str) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.outputs`."""
        arrays = {"input_ids": batch.padded_ids(self._pad_id), "attention_mask": batch.mask.astype(np.int64)}
        if "token_type_ids" in self._inputs:
            arrays["token_type_ids"] = batch.padded_types()
        if ROWS in self._inputs:
            arrays[PLACES], arrays[ROWS] = batch.packing()
        return tuple(self._session.run(names, arrays))


def fused_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session with the graph at `path` after `fuse` and `pack`. Raises whatever ONNX and ONNX Runtime raise."""
    model = onnx.load(path, load_external_data=False)
    fused, packed = fuse(model), pack(model)
    logger.info(
        "%s has %d int8 products and %d attentions as one node each, and its layers run %s padding",
        *(path, fused.products, fused.attentions, "without" if packed else "with"),
    )
    options.add_session_config_entry(WEIGHTS_FOLDER, str(path.parent))
    graph = model.SerializeToString()
    return onnxruntime.InferenceSession(graph, options, PROVIDERS, disabled_optimizers=SLOWER_FUSIONS)


def _trial(pad_id: int) -> TokenBatch:
    """A batch of two items, of one and three tokens."""
    return TokenBatch(
        checkpoint=CheckpointRef("", "", None),
        ids=np.full(4, pad_id, dtype=np.int32),
        types=np.zeros(4, dtype=np.uint8),
        lengths=np.array([1, 3], dtype=np.int32),
        truncated=np.zeros(2, dtype=np.bool_),
    )


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
