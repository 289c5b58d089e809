"""What the routes need from the ingress."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

from fastapi import Depends, Request

from deployments.api.catalogue import Catalogue
from deployments.api.request_count import RequestCount
from deployments.jobs.ledger import Ledger
from deployments.jobs.storage import Storage
from deployments.live_graph import DeploymentReport
from deployments.settings import JobSettings, Settings
from pipelines.chat.request import ChatRequest, Reply
from pipelines.cola.pipeline import Acceptability
from pipelines.errors import MunjangError
from pipelines.format.manifest import Role, Task
from pipelines.format.token_ids import TextOrIds, Token
from pipelines.qa.reading import Findings, Reading
from pipelines.qa.spans import Answer
from pipelines.sts.pipeline import Embedding, Similarity

Input: TypeAlias = tuple[TextOrIds, Role]

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Submits(Protocol[Item, Result]):
    """The group commit of one task."""

    async def submit(self, item: Item) -> Result:
        """Return the item's result, or raise its error."""

    async def submit_all(self, items: Sequence[Item]) -> Sequence[Result]:
        """Return results in the items' order. Raises the first error."""


class SubmitsEach(Protocol[Item, Result]):
    """Lists of one task's items."""

    async def submit_each(self, items: Sequence[Item]) -> Sequence[Result | MunjangError]:
        """Return a result or error for each item, in order. Raises errors that are no item's fault."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The files and jobs of all callers."""

    settings: JobSettings
    ledger: Ledger
    storage: Storage


class Services(Protocol):
    """The part of the ingress that the routes use."""

    settings: Settings
    requests: RequestCount
    sts: Submits[tuple[str, str], Similarity]
    sts_files: Submits[tuple[str, str], Similarity]
    cola: Submits[str, Acceptability]
    qa: Submits[tuple[str, str], Answer]
    catalogue: Catalogue
    embeddings: SubmitsEach[Input, Embedding]
    pair_lists: SubmitsEach[tuple[str, str], Similarity]
    passage_lists: SubmitsEach[str, Acceptability]
    readings: SubmitsEach[Reading, Findings]

    async def tokens(self, task: Task, texts: Sequence[str], role: Role, *, whole_input: bool) -> list[list[Token]]:
        """The tokens of texts, as the tokenizer of a task's checkpoint makes them."""

    async def decode(self, task: Task, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """The texts of token ids. Raises InvalidInput for ids outside of the vocabulary."""

    jobs: Jobs

    async def wake_jobs(self) -> None:
        """Tell the job runner that there is work."""

    async def chat(self, request: ChatRequest) -> Reply:
        """Return the whole answer, or raise its error."""

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str | Reply]:
        """Yield an answer in pieces, at least one, and then whole, or raise its error."""

    async def describe(self) -> dict[str, Any]:
        """By task: checkpoint, scores, limits, engine, versions."""

    async def graph(self) -> list[DeploymentReport]:
        """Every deployment, with the reports of its replicas."""

    async def readiness(self) -> dict[str, bool]:
        """By deployment, whether it is ready: it has a running replica, or needs none."""


async def services_of(request: Request) -> Services:
    """Return the ingress of this app. It is async because FastAPI calls other functions in a thread."""
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]
