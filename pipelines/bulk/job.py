"""Score a whole input: begin or go on with a run, and finish it."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.bulk.on_ray import Room, Work, cluster, score
from pipelines.bulk.output import Output, stored_run
from pipelines.bulk.progress import Progress
from pipelines.bulk.run import Finished, Options, Run
from pipelines.bulk.scan import Files, scan
from pipelines.bulk.source import Format, part_bytes_of
from pipelines.bulk.storage import Location
from pipelines.bulk.tasks import BULK_TASKS
from pipelines.bulk.worker import PartReport
from pipelines.checkpoints.resolve import NOTHING_SAID, ROOT, OutputOptions, portable, resolve
from pipelines.engines.choice import EngineSettings
from pipelines.format.manifest import Role, verify

logger = logging.getLogger(__name__)

GPU_SLOTS = 2  # one part is read, tokenized and written while the GPU runs another


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    outputs     what the user says about the outputs of the checkpoint
    columns     the columns of fields that have other names
    keep        the columns to copy; None: the default of `Run.kept`
    format      of the output; None: that of the input
    role        for embeddings; see `Options`
    workers     number of processes; None: as many as the cluster has room for
    threads     CPU cores of each
    part_bytes  the size of parts; None: by the size of the input, or that of the interrupted run
    """

    task: str
    input: str
    output: str
    checkpoint: str
    outputs: OutputOptions = NOTHING_SAID
    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None
    format: Format | None = None
    role: Role = "document"
    engine: EngineSettings = field(default_factory=EngineSettings)
    workers: int | None = None
    threads: int = 1
    part_bytes: int | None = None

    def options(self, files: Files) -> Options:
        """The options of the run for this input."""
        return Options(
            task=self.task,
            columns={**BULK_TASKS[self.task].fields, **self.columns},
            keep=self.keep,
            format=self.format or files.format,
            role=self.role,
            engine=self.engine.model_copy(update={"threads": 1, "slots": None}),  # they change no result
        )


def complete(request: Request, tell: Callable[[PartReport], None] = lambda _: None) -> Finished:
    """Score all rows that are not scored yet. `tell` gets a report of each part that is done.

    Raises DataError, CheckpointError, StageFailed if the engine fails, and OSError.
    """
    folder = Location.of(request.output)
    files, stored = Files.of(Location.of(request.input)), stored_run(folder)
    if stored is not None:
        run = run_of(request, files, request.part_bytes or stored.part_bytes)
        stored.refuse_other(run, folder.name)
        if stored.finished is not None:
            logger.info("all %s rows were done before", f"{run.source.rows:,}")
            return stored.finished
    with cluster():
        room = Room.of(request.workers, request.threads, gpu=wants_gpu(request.engine))
        if stored is None:
            size = request.part_bytes or part_bytes_of(files.total, room.workers, gpu=room.gpus > 0)
            run = run_of(request, files, size)
        output = Output(folder, run)
        output.begin()
        _score_missing(request, output, room, tell)
        return output.finish()


def run_of(request: Request, files: Files, part_bytes: int) -> Run:
    """The run that a request describes. Raises DataError and CheckpointError."""
    task = BULK_TASKS[request.task].checkpoint
    manifest = verify(resolve(request.checkpoint, task, request.outputs), task)
    run = Run(
        checkpoint=manifest.name,
        digest=manifest.digest,
        options=request.options(files),
        part_bytes=part_bytes,
        source=scan(files, part_bytes),
    )
    run.refuse_unfit()
    return run


def _score_missing(request: Request, output: Output, room: Room, tell: Callable[[PartReport], None]) -> None:
    source, missing = output.run.source, output.missing()
    done = source.rows - sum(source.parts[number].rows for number in missing)
    if done:
        logger.info("%s of %s rows were done before", f"{done:,}", f"{source.rows:,}")
    if missing:
        room.warn_if_waiting()
        work = Work(
            run=output.run,
            input=Location.of(request.input).portable,
            output=output.folder.portable,
            checkpoint=everywhere(request.checkpoint),
            outputs=request.outputs,
            engine=engine_of(request, room),
        )
        for report in score(work, room, missing, Progress(request.task, source.rows, done, _say)):
            tell(report)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def wants_gpu(settings: EngineSettings) -> bool | None:
    """Whether the engine runs on a GPU; None: if there is one."""
    if settings.device == "auto":
        return False if settings.backend == "onnx" or settings.dtype == "int8" else None
    return settings.device == "cuda"


def engine_of(request: Request, room: Room) -> EngineSettings:
    """The engine of one worker, which computes where the worker has room."""
    device, slots = ("cuda", GPU_SLOTS) if room.gpus else ("cpu", 1)
    return request.engine.model_copy(update={"device": device, "slots": slots, "threads": request.threads})


def everywhere(checkpoint: str) -> str:
    """A name of the checkpoint that all machines understand."""
    path = next((path for path in (Path(checkpoint).expanduser(), ROOT / checkpoint) if path.exists()), None)
    return portable(checkpoint) if path is None else str(path.resolve())
