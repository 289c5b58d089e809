"""The typed arguments of the graph: what `args:` in serve_config.yaml may hold.

Replicas, CPUs, GPUs and autoscaling bounds are Serve's own settings, under `deployments:` in the same file.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deployments.keys import Key
from deployments.tracing.settings import TracingSettings
from pipelines.chat.prompt import DEFAULT_PERSONA
from pipelines.chat.settings import ProviderSettings
from pipelines.checkpoints.resolve import OutputOptions
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import Scale
from pipelines.format.windows import WindowOverrides

PLACEHOLDER = "REPLACE_WITH_COMMIT"
HostName = Annotated[str, Field(pattern=r"^([^\s:/*\[\]]+|[0-9A-Fa-f:]+)$")]  # or an IPv6 address; no port, no wildcard


class Frozen(BaseModel):
    """Base class: unknown keys are refused, and values do not change after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchSettings(Frozen):
    """The batcher in each replica of one model deployment."""

    max_tokens: int = Field(
        65_536, ge=1, description="Most padded tokens of one batch: limits device memory; a longer item runs alone."
    )
    target_batch_s: float = Field(
        0.1,
        gt=0,
        description="Intended longest time of a batch in seconds: a new item may wait for the batch that runs.",
    )
    small_bulk_batch_s: float = Field(
        0.025,
        gt=0,
        description="The same for a batch of a file or a job while single requests come, which would wait for its end.",
    )
    interactive_max_age_s: float = Field(
        0.0, ge=0, description="Seconds of waiting after which an item is in the next batch; 0: the oldest always is."
    )
    bulk_max_age_s: float = Field(1.0, ge=0, description="The same for items of uploaded files.")
    max_batch_s: float = Field(
        60.0, gt=0, description="Seconds after which a running batch makes the replica unhealthy."
    )


class GroupCommitSettings(Frozen):
    """How the ingress combines the items of one task into calls."""

    max_calls: int = Field(
        2,
        ge=1,
        description="Calls in flight at once, per ingress replica and priority; two keep one model replica busy.",
    )
    max_items: int = Field(256, ge=1, description="Most items in one call.")
    max_characters: int = Field(200_000, ge=1, description="Most characters in one call; a longer item goes alone.")
    max_waiting: int = Field(512, ge=1, description="Most waiting items; more are refused with 429.")
    max_wait_s: float = Field(
        20.0, gt=0, description="Longest expected wait in seconds of single items; more are refused with 429."
    )


class ChatGroupCommitSettings(GroupCommitSettings):
    """How the chat combines its items into calls. One answer takes several items."""

    max_waiting: int = Field(2048, ge=1, description="Most waiting items; more are refused with 429.")


class TaskSettings(Frozen):
    """The settings that all tasks with a model of their own have."""

    checkpoint: str = Field(description="Folder, zip file or Hub id (owner/name@revision).")
    engine: EngineSettings = EngineSettings()
    batch: BatchSettings = BatchSettings()
    group_commit: GroupCommitSettings = GroupCommitSettings()

    @field_validator("checkpoint")
    @classmethod
    def _is_filled_in(cls, checkpoint: str) -> str:
        if PLACEHOLDER in checkpoint:
            raise ValueError(f"write the commit of the model, a full hash, in place of {PLACEHOLDER}")
        return checkpoint


class StsSettings(TaskSettings):
    """Sentence similarity."""

    checkpoint: str = "checkpoints/sts"
    scale: Scale | None = Field(
        None,
        description="For a cross-encoder to import: lowest and highest prediction, which become the scores 0 and 5; "
        "null: by its activation function.",
    )
    threshold: float | None = Field(
        None,
        description="`pred` is 1 if the score is at least this; null: the checkpoint's threshold, or if it has none, "
        "0.6 (3.0 for a cross-encoder).",
    )
    cache_bytes: int = Field(32 * 2**20, ge=0, description="Bytes of each replica's cache of rows; 0: no cache.")
    max_characters: int = Field(10_000, ge=1, description="Most characters of a sentence; a longer one gets 413.")
    max_pairs: int = Field(100_000, ge=1, description="Most pairs in a file; a longer one gets 413.")

    @property
    def outputs(self) -> OutputOptions:
        """What `resolve` needs to know of the model's outputs."""
        return OutputOptions(scale=self.scale)


class ColaSettings(TaskSettings):
    """Grammatical acceptability."""

    checkpoint: str = "checkpoints/cola"
    positive_label: str | None = Field(
        None,
        description="For a classifier to import: label or index of the output that means acceptable; null: its labels "
        "say which.",
    )
    max_characters: int = Field(10_000, ge=1, description="Most characters of a passage; a longer one gets 413.")

    @property
    def outputs(self) -> OutputOptions:
        """What `resolve` needs to know of the model's outputs."""
        return OutputOptions(positive_label=self.positive_label)


class QaSettings(TaskSettings):
    """Extractive question answering."""

    checkpoint: str = "checkpoints/qa"
    null_threshold: float | None = Field(
        None,
        description="The answer is empty if null score - best score is above this; null: the checkpoint's threshold.",
    )
    windows: WindowOverrides = Field(
        WindowOverrides(), description="How contexts are cut into windows; unset values are those of the checkpoint."
    )
    spans_per_window: int = Field(5, ge=1, description="Number of best spans of each window that are ranked.")
    max_question_characters: int = Field(
        2_000, ge=1, description="Most characters of a question; a longer one gets 413."
    )
    max_context_characters: int = Field(
        200_000, ge=1, description="Most characters of a context; a longer one gets 413."
    )


class ChatSettings(Frozen):
    """Persona chat."""

    stores: str = Field(
        "stores", description="Folder of all stores; a request's `db_path` can only name a store in this folder."
    )
    open_stores: int = Field(8, ge=1, description="Most stores that each replica keeps open.")
    open_bytes: int = Field(
        2 * 2**30, ge=1, description="Most bytes of the open stores' files together; a larger store is open alone."
    )
    passages: int = Field(5, ge=1, le=50, description="Number of best passages that an answer is made from.")
    provider: ProviderSettings | None = Field(
        None, description="The language model that answers; null: the answer is the sentence with the best answer span."
    )
    persona: str = Field(DEFAULT_PERSONA, description="Tells the language model which person it speaks as.")
    sentences: int = Field(
        5, ge=1, description="Without a provider: number of sentences of the passages that the extractor reads."
    )
    cosine_weight: float = Field(
        1.0,
        ge=0,
        description="Without a provider: weight of a sentence's cosine with the question in the sentence's score. The "
        "share of the question's bigrams in the sentence has weight 1. With 0 the sentences are not embedded.",
    )
    margin_weight: float = Field(
        0.03, ge=0, description="Without a provider: weight of best span score - null score in the sentence's score."
    )
    threshold: float = Field(0.42, description="Without a provider: least score of a sentence that is an answer.")
    unknown: str = Field(
        "음, 그건 잘 모르겠어요.", min_length=1, description="The answer if no sentence has the least score."
    )
    group_commit: ChatGroupCommitSettings = ChatGroupCommitSettings()
    max_prompt_characters: int = Field(2_000, ge=1, description="Most characters of a prompt; a longer one gets 413.")


class AccessSettings(Frozen):
    """Whom the ingress answers. With any key here, in the file or in the environment, all others are refused."""

    keys_file: str | None = Field(
        None, description="File of API keys (see docs/access.md), read again when it changes; null: MUNJANG_KEYS_FILE."
    )
    keys: tuple[Key, ...] = Field((), description="API keys beside those of the file, with the same fields.")
    allow_anonymous: bool = Field(
        False, description="`munjang serve` may listen on a public address without any API key."
    )
    hosts: tuple[HostName, ...] | None = Field(
        None,
        description="Names in the header `Host` that are answered beside localhost and addresses of loopback; null: "
        "all names.",
    )


class IngressSettings(Frozen):
    """Which requests the ingress accepts, and how large and slow they may be."""

    max_body_bytes: int = Field(2 * 2**20, ge=1, description="Most bytes of a JSON request; a larger one gets 413.")
    max_upload_bytes: int = Field(32 * 2**20, ge=1, description="Most bytes of an upload; a larger one gets 413.")
    json_budget_bytes: int = Field(
        64 * 2**20, ge=1, description="Most bytes of all JSON bodies in work in one ingress replica; more get 429."
    )
    upload_budget_bytes: int = Field(
        128 * 2**20, ge=1, description="The same for uploads. Reading a file takes three times its bytes more."
    )
    max_requests: int = Field(
        2048, ge=1, description="Most JSON requests, and most uploads, in work in one ingress replica; more get 429."
    )
    body_pause_s: float = Field(
        5.0, gt=0, description="Longest pause in seconds within a request's body; a longer one gets 408."
    )
    min_body_bytes_per_s: float = Field(
        32 * 2**10, gt=0, description="Lowest average rate of a body that takes longer than `body_pause_s`; else 408."
    )
    deadline_s: float = Field(50.0, gt=0, description="Seconds after which a JSON request without an answer gets 504.")
    upload_deadline_s: float = Field(600.0, gt=0, description="The same for uploads.")
    access: AccessSettings = AccessSettings()


class JobSettings(Frozen):
    """Files that are scored in the background (`/v1/files`, `/v1/batches`)."""

    folder: str = Field(
        "jobs",
        description="Folder of all files, which every node with an ingress or a job runner must see: a path, or a URL "
        "of an object store that fsspec knows.",
    )
    database: str | None = Field(
        None,
        description="What keeps the list of files and jobs: a SQLite file on a local disk, or the URL of a Redis for "
        "several nodes, whose password is in $MUNJANG_REDIS_PASSWORD; null: jobs.sqlite in the folder.",
    )
    max_file_bytes: int = Field(2**30, ge=1, description="Most bytes of an uploaded file; a larger one gets 413.")
    max_rows: int = Field(10_000_000, ge=1, description="Most rows of a job; a job with more fails.")
    max_bytes: int = Field(
        20 * 2**30, ge=1, description="Most bytes of all uploads and results together; further uploads get 507."
    )
    max_active: int = Field(100, ge=1, description="Most unfinished jobs of one caller; more get 429.")
    max_transfers: int = Field(
        16, ge=1, description="Most uploads, and most event streams, at once in one ingress replica; more get 429."
    )
    max_window_s: float = Field(
        7 * 86_400, gt=0, description="Longest `completion_window` in seconds, after which a job expires."
    )
    expires_after_s: float = Field(
        30 * 86_400, gt=0, description="Seconds after which files and finished jobs are deleted."
    )
    rows_per_part: int = Field(500, ge=1, description="Most rows of a part, which is scored again after a kill.")
    parts_at_once: int = Field(2, ge=1, description="Parts that one job runner works on at the same time.")
    items_per_call: int = Field(
        64,
        ge=1,
        description="Most items of a job in one call: a single item may wait in a tokenizer behind such a call.",
    )
    patience_s: float = Field(
        300.0, ge=0, description="Seconds for which a row is tried again while the models do not answer."
    )
    row_deadline_s: float = Field(600.0, gt=0, description="Seconds after which one try of a row has failed.")
    lease_s: float = Field(
        15.0, ge=1, description="Seconds after which another job runner takes the work of one that is gone."
    )


class Settings(Frozen):
    """Settings of the whole graph."""

    sts: StsSettings = StsSettings()
    cola: ColaSettings = ColaSettings()
    qa: QaSettings = QaSettings()
    chat: ChatSettings = ChatSettings()
    ingress: IngressSettings = IngressSettings()
    tracing: TracingSettings | None = Field(None, description="Traces of requests; null: none.")
    jobs: JobSettings = JobSettings()

    @model_validator(mode="after")
    def _provider_times_out_first(self) -> Self:
        """If the ingress timed out first, the circuit breaker would not count the provider's failure."""
        provider = self.chat.provider
        if provider and provider.timeout_s >= self.ingress.deadline_s:
            raise ValueError("chat.provider.timeout_s must be less than ingress.deadline_s")
        return self
