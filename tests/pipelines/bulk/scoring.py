"""Parts of a bulk run for tests: a scorer without a model, and runs on small files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.bulk.batches import Sizes
from pipelines.bulk.output import Output
from pipelines.bulk.run import Options, Run
from pipelines.bulk.scan import Files, scan
from pipelines.bulk.scorer import Scorer
from pipelines.bulk.storage import Location
from pipelines.bulk.tasks import BULK_TASKS
from pipelines.bulk.worker import PartScorer
from pipelines.cola.pipeline import Acceptability
from pipelines.engines.choice import EngineSettings
from pipelines.errors import EngineError

FAILING = "This one fails."


async def lengths(passages: Sequence[str]) -> list[Acceptability | EngineError]:
    """A pipeline whose probability is the length of the passage in hundredths."""
    return [
        EngineError("ValueError") if passage == FAILING else Acceptability(len(passage) / 100, False)
        for passage in passages
    ]


def scorer(rows_at_once: int = 3) -> Scorer:
    """A scorer of passages that needs no model."""
    return Scorer("by length", Sizes(tokens=1, rows=rows_at_once), [lengths])


def run_on(path: Path | str, part_bytes: int = 10**6, **options: Any) -> Run:
    """The run of a file, by default with the task cola."""
    files = Files.of(Location.of(str(path)))
    chosen = {"task": "cola", "keep": None, "format": files.format, "role": "document", "engine": EngineSettings()}
    chosen |= options
    columns = {**BULK_TASKS[chosen["task"]].fields, **chosen.pop("columns", {})}
    return Run(
        checkpoint="tiny",
        digest="0123",
        options=Options(columns=columns, **chosen),
        part_bytes=part_bytes,
        source=scan(files, part_bytes),
    )


def output_of(run: Run, folder: Path | str) -> Output:
    """The begun output of a run."""
    output = Output(Location.of(str(folder)), run)
    output.begin()
    return output


def score_all(run: Run, path: Path | str, folder: Path | str) -> Output:
    """Score all parts of a run that are missing, and return its output, which is not finished."""
    output = output_of(run, folder)
    parts = PartScorer(run, Location.of(str(path)), output, scorer(), lambda *_: None)
    for number in output.missing():
        parts.score(number)
    return output


def content_of(folder: Path) -> bytes:
    """The content of all parts in order."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("part-*")))
