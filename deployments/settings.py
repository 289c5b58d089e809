"""The typed arguments of the graph: what `args:` in serve_config.yaml may hold.

Replicas, CPUs, GPUs and autoscaling bounds are Serve's own settings, under `deployments:` in the same file.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.chat.prompt import DEFAULT_PERSONA
from pipelines.chat.settings import ProviderSettings
from pipelines.engines.choice import EngineSettings
from pipelines.format.windows import WindowOverrides


class Frozen(BaseModel):
    """Unknown keys are refused, and nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchSettings(Frozen):
    """The batcher of one model deployment's replicas."""

    max_tokens: int = Field(
        65_536, ge=1, description="Padded tokens of one batch, for the device's memory; a longer item runs alone."
    )
    target_batch_s: float = Field(
        0.1, gt=0, description="No batch is meant to take longer: a single item waits for the one that runs."
    )
    interactive_max_age_s: float = Field(0.1, ge=0, description="After this an item is no longer passed over.")
    bulk_max_age_s: float = Field(1.0, ge=0, description="The same for items of files.")
    max_batch_s: float = Field(60.0, gt=0, description="A batch that runs longer makes the replica unhealthy.")


class GroupCommitSettings(Frozen):
    """How the ingress puts the items of one task together into calls."""

    max_calls: int = Field(
        2, ge=1, description="Calls out at once, per ingress replica and lane; two for each model replica to keep busy."
    )
    max_items: int = Field(256, ge=1, description="Items in one call.")
    max_characters: int = Field(200_000, ge=1, description="Characters in one call; a longer item goes alone.")
    max_waiting: int = Field(512, ge=1, description="Items waiting; more are refused with 429.")


class ChatGroupCommitSettings(GroupCommitSettings):
    """How the chat puts its own items together into calls; an answer takes several items."""

    max_waiting: int = Field(2048, ge=1, description="Items waiting; more are refused with 429.")


class TaskSettings(Frozen):
    """What the tasks with a model of their own have in common."""

    checkpoint: str = Field(description="Folder, zip file or Hub id (owner/name@revision).")
    engine: EngineSettings = EngineSettings()
    batch: BatchSettings = BatchSettings()
    group_commit: GroupCommitSettings = GroupCommitSettings()


class StsSettings(TaskSettings):
    """Sentence similarity."""

    checkpoint: str = "checkpoints/sts"
    threshold: float | None = Field(
        None, description="`pred` is 1 from here on; null: the checkpoint's, 0.6 or 3.0 (cross-encoder) unless it says."
    )
    cache_bytes: int = Field(32 * 2**20, ge=0, description="Each replica's cache of embeddings and scores; 0: none.")
    max_characters: int = Field(10_000, ge=1, description="Of one sentence; more is refused with 413.")
    max_pairs: int = Field(100_000, ge=1, description="Of one file; more are refused with 413.")


class ColaSettings(TaskSettings):
    """Grammatical acceptability."""

    checkpoint: str = "checkpoints/cola"
    max_characters: int = Field(10_000, ge=1, description="Of one passage; more is refused with 413.")


class QaSettings(TaskSettings):
    """Extractive question answering."""

    checkpoint: str = "checkpoints/qa"
    null_threshold: float | None = Field(
        None, description="No answer where null score - best score is above it; null: the checkpoint's."
    )
    windows: WindowOverrides = Field(
        WindowOverrides(), description="How contexts are cut; what is not set here is as the checkpoint was trained."
    )
    spans_per_window: int = Field(5, ge=1, description="Best spans kept of each window before ranking.")
    max_question_characters: int = Field(2_000, ge=1, description="More is refused with 413.")
    max_context_characters: int = Field(200_000, ge=1, description="More is refused with 413.")


class ChatSettings(Frozen):
    """Persona chat."""

    stores: str = Field("stores", description="Folder; a request's `db_path` names a store in it, and nothing else.")
    open_stores: int = Field(8, ge=1, description="Stores that each replica keeps open.")
    open_bytes: int = Field(2 * 2**30, ge=1, description="Of their files together; one that is larger is open alone.")
    passages: int = Field(5, ge=1, le=50, description="An answer is made of so many, the best.")
    provider: ProviderSettings | None = Field(
        None, description="The language model that answers; null: the sentence with the best answer span does."
    )
    persona: str = Field(DEFAULT_PERSONA, description="What the language model is told of whom it speaks as.")
    sentences: int = Field(
        5, ge=1, description="Without a provider: of what was found, so many sentences are searched for an answer."
    )
    cosine_weight: float = Field(
        0.0,
        ge=0,
        description="Of a sentence's cosine with the question, beside the share of the question's bigrams that it has; "
        "0 saves embedding the sentences.",
    )
    margin_weight: float = Field(
        0.03, ge=0, description="Of the extractor's score of a sentence's best span over that of there being none."
    )
    threshold: float = Field(0.1, description="The least that the sum of the three must be for an answer.")
    unknown: str = Field("음, 그건 잘 모르겠어요.", min_length=1, description="The answer where none reaches it.")
    group_commit: ChatGroupCommitSettings = ChatGroupCommitSettings()
    max_prompt_characters: int = Field(2_000, ge=1, description="More is refused with 413.")


class IngressSettings(Frozen):
    """What the ingress takes in."""

    max_body_bytes: int = Field(2 * 2**20, ge=1, description="Of a JSON request; more is refused with 413.")
    max_upload_bytes: int = Field(32 * 2**20, ge=1, description="Of an upload; more is refused with 413.")
    deadline_s: float = Field(50.0, gt=0, description="A JSON request not answered by then gets 504.")
    upload_deadline_s: float = Field(600.0, gt=0, description="The same for uploads.")


class Settings(Frozen):
    """The whole graph."""

    sts: StsSettings = StsSettings()
    cola: ColaSettings = ColaSettings()
    qa: QaSettings = QaSettings()
    chat: ChatSettings = ChatSettings()
    ingress: IngressSettings = IngressSettings()

    @model_validator(mode="after")
    def _provider_times_out_first(self) -> Self:
        """What the ingress gives up says nothing of the provider, whose failures then go uncounted."""
        provider = self.chat.provider
        if provider and provider.timeout_s >= self.ingress.deadline_s:
            raise ValueError("chat.provider.timeout_s must be less than ingress.deadline_s")
        return self
