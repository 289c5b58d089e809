"""`manifest.json`: describes a checkpoint, its origin and its scores, and holds the SHA-256 of each of its files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import CheckpointDamaged, CheckpointNotFound, CheckpointUnsupported
from pipelines.format.windows import WindowOverrides, WindowSettings
from pipelines.text.token_batch import CheckpointRef

MANIFEST = "manifest.json"
GRAPH = "model.onnx"
INT8_GRAPH = "model.int8.onnx"
DERIVED = {GRAPH, INT8_GRAPH}
"""Files that each machine makes from the other files of a checkpoint, if it can."""

Task = Literal["sts", "cola", "qa"]
Kind = Literal["bi-encoder", "cross-encoder", "classifier", "extractor"]
Activation = Literal["sigmoid", "identity", "tanh"]
Scale = tuple[float, float]
"""The lowest and highest prediction of a cross-encoder."""
Role = Literal["symmetric", "query", "document"]
"""Why a text is embedded: to compare it with another text, to search with it, or to find it."""


@dataclass(frozen=True, slots=True)
class KindSpec:
    """What all checkpoints of a kind have in common.

    outputs            the names of the model's outputs; see `pipelines.engines.engine`
    threshold          the decision threshold of a checkpoint that brings none; None: the task has no threshold then
    reads_pairs        whether two sentences are one input of the model
    tolerance          the largest allowed difference of a golden answer that is a number: bfloat16 and int8 round
    library_tolerance  the largest allowed difference from the library of the model, in float32: of cosines, scores from
                       0 to 5, probabilities, or sums of two logits
    """

    outputs: tuple[str, ...]
    threshold: float | None
    reads_pairs: bool
    tolerance: float
    library_tolerance: float


KIND_SPECS: dict[Kind, KindSpec] = {
    "bi-encoder": KindSpec(("sentence_embedding",), 0.6, False, 0.02, 1e-3),
    "cross-encoder": KindSpec(("logits",), 3.0, True, 0.1, 5e-3),
    "classifier": KindSpec(("logits",), 0.5, False, 0.02, 1e-3),
    "extractor": KindSpec(("start_logits", "end_logits"), None, True, 0.0, 1e-2),
}
USED_UNLESS_DEFAULT = (
    *("truncation_side", "split_special_tokens", "token_types", "dimensions", "padded", "prompts", "windows"),
    *("positive_output", "activation", "scale"),
)
"""Fields of a manifest that change how a checkpoint is used, and that older manifests do not have."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(Frozen):
    """How the weights were trained."""

    data: list[str] = Field(description="Names of the data sets.")
    seed: int
    command: str = Field(description="The command that trains the checkpoint again.")
    minutes: float = Field(ge=0, description="Wall time of that command.")


class Prompts(Frozen):
    """The prompt, such as "query: ", that is put before a text when it is embedded, by role. It may be empty."""

    symmetric: str = Field("", description="Put before each of two sentences that are compared.")
    query: str = Field("", description="Put before a question that is used to search passages.")
    document: str = Field("", description="Put before a passage that can be found.")

    def of(self, role: Role) -> str:
        """The prompt of a role."""
        prompts: dict[Role, str] = {"symmetric": self.symmetric, "query": self.query, "document": self.document}
        return prompts[role]


class Golden(Frozen):
    """One input and the answer that the model gave when the checkpoint was written."""

    inputs: tuple[str, ...] = Field(description="Sentence pair, passage, or question and context.")
    output: float | str = Field(description="Score, probability, or answer.")


class Int8(Frozen):
    """How the int8 graph compares with float32."""

    metric: str
    dev: str = Field(description="Name of the dev set.")
    float32: float
    int8: float

    def __str__(self) -> str:
        return f"{self.metric} {self.int8:.4f}, in float32 {self.float32:.4f}, on {self.dev}"


class Manifest(Frozen):
    """The content of `manifest.json`."""

    format: Literal[1] = 1
    name: str = Field(min_length=1, description="A name for people, shown by /info.")
    task: Task
    kind: Kind
    base_model: str | None = Field(None, description="Hub id or folder name of the imported or fine-tuned model.")
    revision: str | None = Field(None, description="Commit of the base model on the Hub.")
    training: Training | None = None
    scores: dict[str, float] = Field(default_factory=dict, description="Dev-set scores by name.")
    max_tokens: int | None = Field(
        None, ge=1, description="Longest input in tokens, with special tokens; None: no limit."
    )
    truncation_side: Literal["right", "left"] = Field("right", description="The end at which longer inputs are cut.")
    special_tokens: bool = Field(True, description="Whether the tokenizer adds its special tokens.")
    split_special_tokens: bool = Field(
        False, description="Whether the name of a special token, such as [SEP], is plain text in a text."
    )
    token_types: bool = Field(
        True, description="False: the model could use token types, but gets none, as its tokenizer gives none."
    )
    dimensions: int | None = Field(
        None, ge=1, description="For a bi-encoder: embeddings are cut to their first dimensions; None: not cut."
    )
    padded: bool = Field(
        True,
        description="Whether items are padded to a common length; if not, only items of equal length run together.",
    )
    prompts: Prompts = Field(Prompts(), description="For a bi-encoder; their tokens count towards `max_tokens`.")
    windows: WindowSettings | None = Field(None, description="For QA: windows used in training; None: the defaults.")
    threshold: float | None = Field(description="Decision threshold; for QA, on null score - best score.")
    positive_output: int = Field(1, ge=0, le=1, description="For a classifier: the output that means acceptable.")
    activation: Activation | None = Field(
        None, description="For a cross-encoder: the function of its output; None: as config.json says, else identity."
    )
    scale: Scale | None = Field(
        None, description="For a cross-encoder: the range of predictions that becomes 0 to 5, the threshold's scale."
    )
    int8: Int8 | None = Field(None, description="The score of the int8 graph, if there is one.")
    untraced: str | None = Field(
        None, description="Why there is no ONNX graph; None: there is one, or an older version wrote the manifest."
    )
    golden: list[Golden] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 by path within the folder.")

    @property
    def digest(self) -> str:
        """The first 16 hex digits of a SHA-256 over what was imported: the files, and the fields that change their use.

        What each machine derives from them is excluded: the `DERIVED` files, which it may fail to make, and scores and
        golden outputs, whose last digits may differ. So all machines that import the same model get the same digest.
        Fields with their default value are excluded: so older manifests keep the digest that is recorded in stores.
        """
        used = {"task", "kind", "max_tokens", "special_tokens", "threshold", "files"}
        used |= {name for name in USED_UNLESS_DEFAULT if getattr(self, name) != type(self).model_fields[name].default}
        files = {name: sha256 for name, sha256 in self.files.items() if name not in DERIVED}
        imported = self.model_copy(update={"files": files})
        return hashlib.sha256(imported.model_dump_json(include=used).encode()).hexdigest()[:16]

    def windows_with(self, overrides: WindowOverrides | None = None) -> WindowSettings:
        """The checkpoint's windows with `overrides` applied. Raises CheckpointUnsupported if the two do not fit."""
        own = self.windows or WindowSettings()
        try:
            return overrides.over(own) if overrides else own
        except ValidationError as error:
            why = "; ".join(fault["msg"] for fault in error.errors())
            raise CheckpointUnsupported(self.name, f"qa.windows with the checkpoint's own: {why}") from error

    @property
    def ref(self) -> CheckpointRef:
        """The reference to this checkpoint in its token batches."""
        return CheckpointRef(self.digest, self.kind, self.threshold)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder.

    Raises CheckpointNotFound if there is none, and CheckpointDamaged if the file is not a valid manifest.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointNotFound(str(path), "there is no such file") from error
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) or "the JSON" for fault in error.errors())
        raise CheckpointDamaged(str(path), f"not a valid manifest: {fields}") from error


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write `manifest` to `folder`, with the SHA-256 of every file there, and return the completed manifest."""
    complete = manifest.model_copy(update={"files": hash_files(folder)})
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST)  # atomic: a replica may be reading it
    return complete


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path of all files below `folder`, except the manifest and the model card."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in paths
        if path.name not in {MANIFEST, "README.md"}
    }


def hash_file(path: Path) -> str:
    """The SHA-256 of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path, task: Task) -> Manifest:
    """Check every file of `folder` against its SHA-256 and return the manifest.

    Raises CheckpointNotFound if there is no manifest, CheckpointDamaged, which names the first file that is missing,
    truncated or altered, and CheckpointUnsupported if the checkpoint is for another task.
    """
    manifest = read_manifest(folder)
    if manifest.task != task:
        raise CheckpointUnsupported(str(folder), f"a checkpoint for {manifest.task}, not for {task}")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointDamaged(str(path), "missing")
        if hash_file(path) != expected:
            raise CheckpointDamaged(str(path), "its SHA-256 differs from the manifest's")
    return manifest
