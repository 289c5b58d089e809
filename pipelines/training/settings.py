"""The settings of training; each field becomes an option of the command line."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Immutable settings that reject unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSettings(Frozen):
    """How to train a model. Equal settings, rows, base and number of workers give equal weights."""

    epochs: int = Field(4, ge=1, description="Passes over the rows of the last stage.")
    earlier_epochs: int = Field(1, ge=1, description="Passes over the rows of each stage before the last.")
    patience: int = Field(
        0, ge=0, description="Stop after this many epochs of the last stage without a new best one; 0: never."
    )
    keep: Literal["best", "last"] = Field(
        "best", description="The epoch whose weights are written: the best on the dev rows, or the last."
    )
    batch_size: int = Field(64, ge=1, description="Rows per step, over all workers together.")
    accumulation: int = Field(
        1, ge=1, description="Split each batch into this many parts and add up their gradients, to use less memory."
    )
    group_by_length: bool = Field(
        True, description="Batch rows of similar length, so that there are fewer padded tokens."
    )
    learning_rate: float = Field(5e-5, gt=0, description="AdamW's highest rate.")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="Share of all steps in which the rate rises from 0.")
    schedule: Literal["constant", "linear"] = Field(
        "constant", description="Learning rate after the warm-up: constant, or falling linearly to 0."
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="The learning rate of a layer is this times that of the layer above it; 1: the same for all.",
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay; biases and norms have none.")
    max_grad_norm: float = Field(1.0, gt=0, description="Clip the norm of the gradient to this value.")
    attention_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout of attention weights; above 0, a CPU takes twice as long: no fast attention.",
    )
    layers: int | None = Field(
        None, ge=1, description="Keep only this many layers of the base, evenly spread from the first to the last."
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Type of forward passes, not of weights.")
    seed: int = Field(0, ge=0, description="Seed of new weights, the order of rows and dropout.")

    def all_epochs(self, stages: int) -> int:
        """The number of epochs of a run with this many stages."""
        return (stages - 1) * self.earlier_epochs + self.epochs

    def stage_of(self, epoch: int, stages: int) -> int:
        """The stage of an epoch; both are counted from 0."""
        return min(epoch // self.earlier_epochs, stages - 1)


class RaySettings(Frozen):
    """Where a run takes place: on the Ray cluster at RAY_ADDRESS, or on one that is started on this machine."""

    num_workers: int = Field(1, ge=1, description="Processes that train together, each on a share of every batch.")
    use_gpu: bool = Field(False, description="Give each worker one GPU.")
    cpus_per_worker: int = Field(1, ge=1, description="CPUs of each worker, and the number of its threads.")
    storage: str = Field(
        "runs", description="Folder or URL for checkpoints and TensorBoard; it must be shared by all machines."
    )
    max_failures: int = Field(3, ge=0, description="How often to continue after the last epoch when a worker died.")


class SearchSettings(Frozen):
    """The search space. Learning rates and weight decays are sampled uniformly on a logarithmic scale."""

    trials: int = Field(20, ge=1, description="Number of runs; the best one is exported.")
    most_epochs: int = Field(4, ge=1, description="Maximum number of epochs of a run; the minimum is 1.")
    lowest_rate: float = Field(1e-6, gt=0, description="The lowest learning rate.")
    highest_rate: float = Field(1e-2, gt=0, description="The highest learning rate.")
    lowest_decay: float = Field(4e-5, gt=0, description="The lowest weight decay.")
    highest_decay: float = Field(1e-3, gt=0, description="The highest weight decay.")
    reduction: int = Field(
        2,
        ge=2,
        description="Successive halving: with 2, the better half of the trials continues after 1, 2, 4, ... epochs.",
    )


class TuneSettings(Frozen):
    """Where a search takes place: on the Ray cluster at RAY_ADDRESS, or on one that is started on this machine."""

    concurrent: int = Field(1, ge=1, description="Trials that run at the same time.")
    cpus_per_trial: int = Field(1, ge=1, description="CPUs of each trial, and the number of its threads.")
    gpus_per_trial: float = Field(0.0, ge=0, description="GPUs of each trial; with 0.5, two trials share one.")
    storage: str = Field(
        "runs", description="Folder or URL for checkpoints and TensorBoard; it must be shared by all machines."
    )
    max_failures: int = Field(3, ge=0, description="How often a trial continues after its last epoch when it died.")
