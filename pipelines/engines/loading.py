"""Load a checkpoint's engine, importing only the libraries that this engine needs."""

from pathlib import Path

from pipelines.engines.choice import Choice, EngineSettings, choose
from pipelines.engines.engine import Engine
from pipelines.engines.equal_lengths import EqualLengths
from pipelines.format.manifest import Manifest


def load_engine(folder: Path, manifest: Manifest, settings: EngineSettings) -> Engine:
    """The engine of a verified checkpoint.

    Raises CheckpointDamaged if files do not fit each other, and CheckpointUnsupported in the same cases as `choose`.
    """
    engine = _engine(folder, manifest, choose(folder, manifest, settings))
    return engine if manifest.padded else EqualLengths(engine)


def _engine(folder: Path, manifest: Manifest, choice: Choice) -> Engine:
    if choice.backend == "onnx":
        from pipelines.engines.onnx_engine import OnnxEngine

        return OnnxEngine.load(folder, choice)
    return _torch_engine(folder, manifest, choice)


def _torch_engine(folder: Path, manifest: Manifest, choice: Choice) -> Engine:
    from pipelines.engines.torch_engine import SentenceTransformerEngine, TorchEngine

    if manifest.kind == "bi-encoder":
        from pipelines.format.sentence_transformer import load_sentence_transformer

        model = load_sentence_transformer(folder)
        return SentenceTransformerEngine(
            model, choice, token_types=manifest.token_types, dimensions=manifest.dimensions
        )
    from pipelines.format.headed import load_headed, pad_id_of

    headed = load_headed(folder, manifest)
    return TorchEngine(headed, choice, pad_id=pad_id_of(headed), token_types=manifest.token_types)
