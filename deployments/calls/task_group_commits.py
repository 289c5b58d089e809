"""The group commits of an ingress: for each task, one for every kind of request and priority."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from deployments.batching.queue import Priority
from deployments.calls.group_commit import GroupCommit
from deployments.calls.lists import Lists
from deployments.calls.one_checkpoint import OneCheckpoint
from deployments.calls.remote_pipelines import (
    Handle,
    for_lists,
    group_commit_of,
    model_stage,
    qa_group_commit,
    reading_group_commit,
    tokenizer_stage,
)
from deployments.metrics.group_commit import GroupCommitMetrics
from deployments.settings import ColaSettings, QaSettings, StsSettings
from pipelines.cola.pipeline import Acceptability, ColaPipeline
from pipelines.format.manifest import Role
from pipelines.format.token_ids import TextOrIds
from pipelines.sts.pipeline import Embedding, InputPipeline, Pair, Similarity, StsPipeline

Input: TypeAlias = tuple[TextOrIds, Role]


class StsGroupCommits:
    """Pairs and single inputs of the STS encoder.

    pairs       single pairs
    files       the pairs of uploaded files, which give way to single pairs
    pair_lists  lists of pairs in JSON, which are refused when too many items wait, unlike files
    inputs      lists of texts or token ids to embed
    waiting     all group commits whose items wait for the encoder
    """

    def __init__(self, settings: StsSettings, tokenizer: Handle, encoder: Handle) -> None:
        self._settings, self._tokenizer, self._encoder = settings, tokenizer, encoder
        single = self._pairs("pairs")
        of_files, of_lists = self._pairs("file_pairs", single), self._pairs("list_pairs", single)
        few = self._inputs(Priority.INTERACTIVE)
        many = self._inputs(Priority.BULK, few)
        self.pairs = single
        self.files = OneCheckpoint(of_files)
        self.pair_lists = Lists(single, of_lists)
        self.inputs = Lists(few, many)
        self.waiting: Sequence[GroupCommit[Any, Any]] = [single, of_files, of_lists, few, many]

    def _pairs(
        self, kind: str, gives_way_to: GroupCommit[Pair, Similarity] | None = None
    ) -> GroupCommit[Pair, Similarity]:
        settings = self._settings
        priority = Priority.INTERACTIVE if gives_way_to is None else Priority.BULK
        tokenize = tokenizer_stage(self._tokenizer, "sentence_pairs")
        pipeline = StsPipeline(tokenize, model_stage(self._encoder, priority), threshold=settings.threshold)
        return group_commit_of(
            pipeline,
            for_lists(settings.group_commit) if kind == "list_pairs" else settings.group_commit,
            lambda pair: len(pair[0]) + len(pair[1]),
            metrics=GroupCommitMetrics("sts", kind),
            bulk_items=settings.max_pairs if kind == "file_pairs" else None,
            gives_way_to=gives_way_to,
        )

    def _inputs(
        self, priority: Priority, gives_way_to: GroupCommit[Input, Embedding] | None = None
    ) -> GroupCommit[Input, Embedding]:
        tokenize = tokenizer_stage(self._tokenizer, "inputs")
        return group_commit_of(
            InputPipeline(tokenize, model_stage(self._encoder, priority)),
            for_lists(self._settings.group_commit),
            lambda one: len(one[0]),
            metrics=GroupCommitMetrics("sts", f"{priority.name.lower()}_inputs"),
            gives_way_to=gives_way_to,
        )


class ColaGroupCommits:
    """Passages of the CoLA classifier.

    passages       single passages
    passage_lists  lists of passages in JSON
    waiting        all group commits whose items wait for the classifier
    """

    def __init__(self, settings: ColaSettings, tokenizer: Handle, classifier: Handle) -> None:
        self._settings, self._tokenizer, self._classifier = settings, tokenizer, classifier
        single = self._passages(Priority.INTERACTIVE)
        many = self._passages(Priority.BULK, single)
        self.passages = single
        self.passage_lists = Lists(single, many)
        self.waiting: Sequence[GroupCommit[Any, Any]] = [single, many]

    def _passages(
        self, priority: Priority, gives_way_to: GroupCommit[str, Acceptability] | None = None
    ) -> GroupCommit[str, Acceptability]:
        settings, bulk = self._settings.group_commit, priority is Priority.BULK
        tokenize = tokenizer_stage(self._tokenizer, "passages")
        return group_commit_of(
            ColaPipeline(tokenize, model_stage(self._classifier, priority)),
            for_lists(settings) if bulk else settings,
            len,
            metrics=GroupCommitMetrics("cola", "list_passages" if bulk else "passages"),
            gives_way_to=gives_way_to,
        )


class QaGroupCommits:
    """Questions and readings of the QA extractor.

    questions  single questions on a context, each with its best answer
    readings   lists of questions on a context, each with all its candidates
    waiting    all group commits whose items wait for the extractor
    """

    def __init__(self, settings: QaSettings, tokenizer: Handle, extractor: Handle) -> None:
        threshold, of_lists = settings.null_threshold, for_lists(settings.group_commit)
        questions = qa_group_commit(settings.group_commit, tokenizer, extractor, null_threshold=threshold)
        few = reading_group_commit(of_lists, tokenizer, extractor, Priority.INTERACTIVE, null_threshold=threshold)
        many = reading_group_commit(
            of_lists, tokenizer, extractor, Priority.BULK, null_threshold=threshold, gives_way_to=few
        )
        self.questions = questions
        self.readings = Lists(few, many)
        self.waiting: Sequence[GroupCommit[Any, Any]] = [questions, few, many]
