"""What the outputs of a sequence-classification model mean: their number, their labels, and which is "acceptable"."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from pipelines.errors import CheckpointUnsupported
from pipelines.format.loading import refusing_damage

ENGLISH = frozenset({"acceptable", "grammatical", "correct", "wellformed", "valid"})
POSITIVE = ENGLISH | {"true", "1", "label1", "정문", "문법적", "문법적임", "올바름", "옳음", "맞음", "참"}
"""Labels that mean "acceptable"; they are compared in lower case, by their letters and digits (`_plain`)."""
NEGATIVE = frozenset(prefix + word for prefix in ("un", "in", "not", "non", "a") for word in ENGLISH) | {
    *("wrong", "illformed", "malformed", "false", "0", "label0"),
    *("비문", "비문법적", "비문법적임", "올바르지않음", "틀림", "거짓"),
}
"""Labels that mean "unacceptable"."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a model.

    labels        their labels, by index
    problem_type  that of the config; None: not stated
    by_name       the labels by index as `label2id` of the config has them, which may differ
    """

    labels: tuple[str, ...]
    problem_type: str | None
    by_name: Mapping[int, str]

    @property
    def contradicted(self) -> bool:
        """Whether `label2id` gives the same labels other indexes."""
        ours = dict(enumerate(self.labels))
        return self.by_name != ours and sorted(self.by_name.values()) == sorted(self.labels)

    def __str__(self) -> str:
        listed = ", ".join(f"{index}: {label}" for index, label in enumerate(self.labels))
        count = f"{len(self.labels)} output{'' if len(self.labels) == 1 else 's'}"
        return f"{count} (labels: {listed})" if listed else count


def outputs_of(folder: Path) -> Outputs:
    """The outputs of the model in a transformers folder, as `AutoConfig` reads `id2label` or `num_labels`.

    If `id2label` only has the placeholders LABEL_0, LABEL_1 and so on, the names in `label2id` are used.
    Raises CheckpointDamaged if the config can't be read.
    """
    with refusing_damage(folder / "config.json"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        written = PreTrainedConfig.get_config_dict(folder)[0]  # AutoConfig replaces a `label2id` without `id2label`
        by_name = {int(index): str(label) for label, index in (written.get("label2id") or {}).items()}
        return Outputs(tuple(_labels(config.id2label, by_name)), config.problem_type, by_name)


def _labels(id2label: Mapping[int, object], by_name: Mapping[int, str]) -> list[str]:
    """The label of each output. An output that `id2label` leaves out has a label that means nothing."""
    count = len(id2label)
    labels = [str(id2label.get(index, f"no label for {index}")) for index in range(count)]
    if labels == [f"LABEL_{index}" for index in range(count)] and by_name.keys() == set(range(count)):
        return [by_name[index] for index in range(count)]
    return labels


def positive_output(folder: Path, wanted: str | None = None) -> int:
    """The index of the output of a two-class model that means "acceptable".

    `wanted` is its label or its index. Without it, the labels decide, if one of them is in POSITIVE and the other in
    NEGATIVE. Raises CheckpointUnsupported, with the labels, if the meaning is not certain.
    """
    outputs = outputs_of(folder)
    if wanted is not None:
        return _wanted(folder, outputs, wanted)
    plain = [_plain(label) for label in outputs.labels]
    found = [index for index, label in enumerate(plain) if label in POSITIVE]
    others = [index for index, label in enumerate(plain) if label in NEGATIVE]
    if len(found) != 1 or len(others) != 1 or outputs.contradicted:
        raise CheckpointUnsupported(
            str(folder),
            f"its config.json does not say which of its {outputs} means 'acceptable'; name that label or its index: "
            "--positive-label LABEL, or POSITIVE_LABEL=LABEL of make serve",
        )
    return found[0]


def _wanted(folder: Path, outputs: Outputs, wanted: str) -> int:
    """The index of the label `wanted`: spelled exactly, else spelled alike (`_plain`), else given as an index."""
    indexes = [str(index) for index in range(len(outputs.labels))]
    plain = [_plain(label) for label in outputs.labels]
    for known, name in ((list(outputs.labels), wanted), (plain, _plain(wanted)), (indexes, wanted)):
        if name and known.count(name) == 1:
            return known.index(name)
    raise CheckpointUnsupported(
        str(folder), f"--positive-label {wanted} is not the label or the index of exactly one of its {outputs}"
    )


def _plain(label: str) -> str:
    """A label in lower case, with letters and digits only."""
    return "".join(filter(str.isalnum, label.casefold()))
