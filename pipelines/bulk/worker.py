"""Score one part after the other: read its rows, run those that can be scored, and write what came of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipelines.bulk.output import Output
from pipelines.bulk.parquet import schema_of
from pipelines.bulk.rows import Fault, Row, rows_of
from pipelines.bulk.run import Run
from pipelines.bulk.scan import file_of
from pipelines.bulk.scorer import Scorer
from pipelines.bulk.storage import Location
from pipelines.bulk.tasks import texts_of
from pipelines.bulk.writers import Writer, writer_of
from pipelines.errors import MalformedInput, MunjangError

Tell = Callable[[int, int], None]
"""Takes the number of rows that are done since the last call, and how many of them were set aside."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """A part that is done. Times are in seconds since 1970, as on other machines; `rows` include those set aside."""

    number: int
    rows: int
    set_aside: int
    engine: str
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A row to score: the number of its line, its copied cells, and its texts."""

    line: int
    cells: dict[str, Any]
    texts: tuple[str, ...]


class PartScorer:
    """Scores the parts of a run. As many threads may call it at once as the engine has slots."""

    def __init__(self, run: Run, source: Location, output: Output, scorer: Scorer, tell: Tell) -> None:
        self._run, self._task = run, run.task
        self._source, self._output = source, output
        self._scorer, self._tell = scorer, tell

    def score(self, number: int) -> PartReport:
        """Score a part and write its file. Raises BadRow as `rows_of`, StageFailed if the engine fails, and OSError."""
        began_s = time.time()
        part = self._run.source.parts[number]
        faults: list[Fault] = []
        rows = 0
        with self._output.part(number).replacing() as stream:
            writer = writer_of(self._run.options.format, stream, self._types(part.file))
            for portion in self._portions(number):
                scored, bad = self._score(portion, writer)
                writer.write(scored)
                faults += bad
                rows += len(portion)
                self._tell(len(portion), len(bad))
            writer.close()
            self._output.write_faults(number, faults)  # before the part's file is there, which says that it is done
        return PartReport(number, rows, len(faults), self._scorer.engine, began_s, time.time())

    def _portions(self, number: int) -> Iterator[list[Row | Fault]]:
        """The rows of a part, as many together as are scored at once."""
        part = self._run.source.parts[number]
        rows = rows_of(self._source, self._run.source, part, self._run.read_columns)
        while portion := list(islice(rows, self._scorer.rows_at_once)):
            yield portion

    def _types(self, file: str) -> dict[str, Any]:
        is_parquet = self._run.source.format == "parquet"
        return self._run.types(schema_of(file_of(self._source, file)) if is_parquet else None)

    def _score(self, portion: Sequence[Row | Fault], writer: Writer) -> tuple[list[dict[str, Any]], list[Fault]]:
        """The output rows and the faults of a portion, both in its order."""
        prepared = [row if isinstance(row, Fault) else self._prepared(row, writer) for row in portion]
        results = self._results([row.texts for row in prepared if isinstance(row, _Prepared)])
        rows: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for row in prepared:
            if isinstance(row, Fault):
                faults.append(row)
            elif isinstance(added := next(results), MunjangError):
                faults.append(Fault(row.line, str(added)))
            else:
                rows.append(row.cells | added)
        return rows, faults

    def _prepared(self, row: Row, writer: Writer) -> _Prepared | Fault:
        try:
            texts = texts_of(self._task, row.cells, self._run.options.columns)
            cells = self._run.copied(row.cells, texts)
        except MalformedInput as error:
            return Fault(row.line, str(error))
        reason = writer.fault(cells)
        return _Prepared(row.line, cells, texts) if reason is None else Fault(row.line, reason)

    def _results(self, texts: Sequence[tuple[str, ...]]) -> Iterator[dict[str, Any] | MunjangError]:
        """What scoring adds to each row, or its error, in order."""
        items = [self._task.item(one) for one in texts if self._task.needs_model(one)]
        results = iter(self._scorer.results(items))
        for one in texts:
            if not self._task.needs_model(one):
                yield dict(self._task.blank or {})
            else:
                result = next(results)
                yield result if isinstance(result, MunjangError) else self._task.result(result)
