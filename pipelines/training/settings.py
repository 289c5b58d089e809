"""The options of training, one field each; the command lines are made of them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value: unknown keys are refused, nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSettings(Frozen):
    """How a model is trained. The same settings, rows and base give the same weights on the same number of workers."""

    epochs: int = Field(4, ge=1, description="Passes over the rows of the last stage; the best of all is kept.")
    earlier_epochs: int = Field(1, ge=1, description="Passes over the rows of each stage before the last.")
    patience: int = Field(
        0, ge=0, description="Stop after so many epochs of the last stage without a better one; 0: never."
    )
    batch_size: int = Field(64, ge=1, description="Rows of one step, over all workers together.")
    accumulation: int = Field(
        1, ge=1, description="Parts of a batch that are computed one after the other, where memory holds no whole one."
    )
    group_by_length: bool = Field(
        True, description="Put rows of like length into a batch, so that less of it is padding."
    )
    learning_rate: float = Field(5e-5, gt=0, description="AdamW's highest rate.")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="Share of all steps over which the rate rises from 0.")
    schedule: Literal["constant", "linear"] = Field(
        "constant", description="What the rate does after the warm-up: stay, or fall to 0 in a line."
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Each layer learns at so many times the rate of the layer above it; 1: all at the same.",
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of weights; biases and norms have none.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to this length.")
    attention_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Of attention weights; above 0 a CPU takes twice as long, for want of PyTorch's fast attention.",
    )
    layers: int | None = Field(
        None, ge=1, description="Keep only so many of the base's layers, evenly spread from the first to the last."
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Of forward passes; weights are float32.")
    seed: int = Field(0, ge=0, description="Of new weights, row order and dropout.")

    def all_epochs(self, stages: int) -> int:
        """The epochs of a run of so many stages."""
        return (stages - 1) * self.earlier_epochs + self.epochs

    def stage_of(self, epoch: int, stages: int) -> int:
        """The number from 0 of the stage that an epoch, counted from 0, belongs to."""
        return min(epoch // self.earlier_epochs, stages - 1)


class RaySettings(Frozen):
    """Where a run takes place: on the Ray cluster that RAY_ADDRESS names, or on one started for it on this machine."""

    num_workers: int = Field(1, ge=1, description="Processes that train together, each on a share of every batch.")
    use_gpu: bool = Field(False, description="One GPU for each worker.")
    cpus_per_worker: int = Field(1, ge=1, description="CPUs, and threads, of each worker.")
    storage: str = Field(
        "runs", description="Folder or URL for checkpoints and TensorBoard; with several machines, one that all share."
    )
    max_failures: int = Field(3, ge=0, description="How often to go on from the last epoch after a worker died.")


class SearchSettings(Frozen):
    """What is searched, and where. Rates and decays are drawn evenly on a log scale."""

    trials: int = Field(20, ge=1, description="Runs, of which the best is kept.")
    most_epochs: int = Field(4, ge=1, description="A run has from 1 to so many.")
    lowest_rate: float = Field(1e-6, gt=0, description="Of learning rates.")
    highest_rate: float = Field(1e-2, gt=0, description="Of learning rates.")
    lowest_decay: float = Field(4e-5, gt=0, description="Of weight decays.")
    highest_decay: float = Field(1e-3, gt=0, description="Of weight decays.")
    reduction: int = Field(
        2, ge=2, description="After 1, 2, 4, ... epochs, powers of it, the best one of so many goes on."
    )


class TuneSettings(Frozen):
    """Where a search takes place: on the Ray cluster that RAY_ADDRESS names, or on one started for it."""

    concurrent: int = Field(1, ge=1, description="Trials at a time.")
    cpus_per_trial: int = Field(1, ge=1, description="CPUs, and threads, of each trial.")
    gpus_per_trial: float = Field(0.0, ge=0, description="GPUs of each; 0.5 puts two trials on one.")
    storage: str = Field(
        "runs", description="Folder or URL for checkpoints and TensorBoard; with several machines, one that all share."
    )
    max_failures: int = Field(3, ge=0, description="How often a trial goes on from its last epoch after it died.")
