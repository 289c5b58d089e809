"""Complete a checkpoint whose weights, tokenizer and configuration are already in its folder."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.checkpoints import gate, golden, in_process
from pipelines.checkpoints.gate import Examination
from pipelines.checkpoints.in_process import token_batches
from pipelines.checkpoints.quality import score
from pipelines.checkpoints.tasks.definition import Examples
from pipelines.checkpoints.tasks.registry import TASKS
from pipelines.engines.choice import ONNX, REFERENCE, EngineSettings
from pipelines.errors import CheckpointDamaged, CheckpointError, CheckpointUnsupported
from pipelines.format.loading import reason, refusing_damage, refusing_unsupported
from pipelines.format.manifest import Int8, Manifest, hash_files, write_manifest

logger = logging.getLogger(__name__)

ONNX_FLOAT32 = EngineSettings(device="cpu", backend="onnx", dtype="float32")
ONNX_INT8 = EngineSettings(device="cpu", backend="onnx", dtype="int8")
ENGINE_TOLERANCE = 1e-3  # difference of scores and probabilities between two float32 engines
MOST_POINTS_LOST = 0.5  # of 100
CALIBRATION_INPUTS = 300
FEWEST_TO_SCORE = 2  # a correlation needs two examples


def finish(
    folder: Path,
    draft: Manifest,
    calibration: Examples | None = None,
    dev: Examples | None = None,
    *,
    source: Path | None = None,
) -> Manifest:
    """Record the golden answers, trace the ONNX graph, hash the files, and write the manifest.

    `source` is the folder that the library loads, if the checkpoint is compared with it (`pipelines.checkpoints.gate`).
    If the model can't be traced or its graph gives other golden answers, the graph is left out, PyTorch serves the
    model, and the manifest gives the reason (`untraced`). If there are examples but the int8 graph does not pass the
    quality gate, the int8 graph is left out. Both are logged. Raises CheckpointUnsupported if the model fails on the
    golden inputs, and CheckpointDamaged if it gives outputs that are not finite.
    """
    for graph in ONNX.values():
        (folder / graph).unlink(missing_ok=True)  # a graph of earlier weights
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # libraries make some readable only for the owner; a container may run as another user
    reference = in_process.load_model(folder, draft, REFERENCE)
    with refusing_unsupported(folder):
        manifest = draft.model_copy(update={"golden": golden.record(folder, draft, reference)})
    examined = None if source is None else gate.examine(source, folder, manifest, reference)
    manifest = manifest if examined is None else examined.manifest
    untraced = _try_onnx(folder, manifest, examined)
    written = write_manifest(folder, manifest.model_copy(update={"untraced": untraced}))
    if calibration is None or dev is None:
        return written
    return quantize_if_as_good(folder, written, calibration, dev)


def quantize_if_as_good(folder: Path, manifest: Manifest, calibration: Examples, dev: Examples) -> Manifest:
    """Call `quantize`; if it raises CheckpointError, log the error and return the manifest unchanged."""
    try:
        return quantize(folder, manifest, calibration, dev)
    except CheckpointError as error:
        logger.warning("%s", error)
        return manifest


def _try_onnx(folder: Path, manifest: Manifest, examined: Examination | None) -> str | None:
    """Add the ONNX graph to the folder. If it can't be traced or is not right, log and return the reason."""
    from pipelines.engines.onnx_export import write_onnx  # imports PyTorch's exporter

    try:
        path = write_onnx(folder, manifest)
        hashed = manifest.model_copy(update={"files": hash_files(folder)})
        model = in_process.load_model(folder, hashed, ONNX_FLOAT32)
        golden.check(folder, hashed, model, tolerance=ENGINE_TOLERANCE)
        if examined is not None:
            gate.check_engine(folder, examined, model)
    except Exception as error:  # any error of the exporter: the graph is optional
        (folder / ONNX["float32"]).unlink(missing_ok=True)
        why = error.why if isinstance(error, CheckpointError) else reason(error)
        logger.warning("%s is served by PyTorch because it can't be traced: %s", manifest.name, why)
        return why
    logger.info("traced %s as %s", manifest.name, path.name)
    return None


def quantize(folder: Path, manifest: Manifest, calibration: Examples, dev: Examples) -> Manifest:
    """Add an int8 graph, calibrated on the examples `calibration`, if its score on the examples `dev` is good enough.

    Raises CheckpointUnsupported, with both scores, if the graph loses more than half a point or gives another golden
    answer, and if there is no float32 graph or there are too few examples. Raises CheckpointDamaged if a graph can't be
    read or written. After an error the folder is the same as before.
    """
    if ONNX["float32"] not in manifest.files:
        raise CheckpointUnsupported(str(folder), "has no ONNX graph to quantise")
    if not calibration.inputs or len(dev.inputs) < FEWEST_TO_SCORE:
        raise CheckpointUnsupported(str(folder), "too few examples to calibrate and score int8")
    from pipelines.engines.quantization import write_int8

    with _restoring(folder / ONNX["int8"]):
        with refusing_damage(folder):
            write_int8(folder, token_batches(folder, manifest, calibration.inputs[:CALIBRATION_INPUTS]))
        compared = _compare(folder, manifest.model_copy(update={"files": hash_files(folder)}), dev)
        written = write_manifest(folder, manifest.model_copy(update={"int8": compared}))
    logger.info("%s in int8: %s", manifest.name, compared)
    return written


@contextmanager
def _restoring(path: Path) -> Iterator[None]:
    """If the block fails, restore the file, or delete it if it did not exist before."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        raise


def _compare(folder: Path, manifest: Manifest, dev: Examples) -> Int8:
    models = [in_process.load_model(folder, manifest, settings) for settings in (REFERENCE, ONNX_INT8)]
    scores: Sequence[float] = [
        score(in_process.pipeline_of(folder, manifest, model), manifest, dev) for model in models
    ]
    compared = Int8(metric=TASKS[dev.task].metric, dev=dev.name, float32=round(scores[0], 4), int8=round(scores[1], 4))
    if not 100 * (scores[0] - scores[1]) <= MOST_POINTS_LOST:  # also true if a score is NaN
        raise CheckpointUnsupported(str(folder), f"int8 loses more than {MOST_POINTS_LOST} points: {compared}")
    try:
        golden.check(folder, manifest, models[1])
        gate.check_batches(folder, manifest, models[1])
    except (CheckpointDamaged, CheckpointUnsupported) as error:
        raise CheckpointUnsupported(str(folder), f"{error.why}; {compared}") from error
    return compared
