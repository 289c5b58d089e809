"""The folder that a run writes to.

    part-00000.jsonl, ...   the scored rows of each part; a part is done when its file is there
    _errors.jsonl           the rows that were set aside, once the run is complete: file, line and reason
    _errors-00000.jsonl     the same for one part, until then
    _manifest.json          the run

Other readers of folders, such as Spark and pyarrow, leave out names that begin with "_".
"""

from collections.abc import Sequence

from pyarrow import fs
from pydantic import ValidationError

from pipelines.bulk.rows import Fault
from pipelines.bulk.run import Finished, Run
from pipelines.bulk.source import Part
from pipelines.bulk.storage import PARTIAL, Location
from pipelines.bulk.writers import json_line
from pipelines.errors import OutputTaken

MANIFEST = "_manifest.json"
ERRORS = "_errors.jsonl"


def stored_run(folder: Location) -> Run | None:
    """The run that began in this folder; None if there is nothing in it. Raises OutputTaken for anything else."""
    info = folder.info()
    if info.type == fs.FileType.File:
        raise OutputTaken(folder.name, "is a file; name a folder")
    names = folder.names()
    if MANIFEST not in names:
        if any(not name.endswith(PARTIAL) for name in names):
            raise OutputTaken(folder.name, "holds other files; name an empty folder, or one that does not exist")
        return None
    try:
        return Run.model_validate_json((folder / MANIFEST).read())
    except ValidationError as error:
        raise OutputTaken((folder / MANIFEST).name, "is not the manifest of a run of this version") from error


class Output:
    """The folder of a run."""

    def __init__(self, folder: Location, run: Run) -> None:
        self.folder = folder
        self.run = run

    def begin(self) -> None:
        """Make the folder and write the manifest, where they are not there yet."""
        self.folder.make_folder()
        if (self.folder / MANIFEST).info().type == fs.FileType.NotFound:
            self._write_manifest(self.run)

    def missing(self) -> list[int]:
        """The numbers of the parts that are not done yet."""
        names = set(self.folder.names())
        return [number for number in range(len(self.run.source.parts)) if self.run.part_name(number) not in names]

    def part(self, number: int) -> Location:
        """The file of a part."""
        return self.folder / self.run.part_name(number)

    def write_faults(self, number: int, faults: Sequence[Fault]) -> None:
        """Write which rows of a part were set aside."""
        if faults:
            part = self.run.source.parts[number]
            lines = b"".join(json_line(self._error(part, fault)) for fault in faults)
            (self.folder / self._errors_name(number)).write(lines)

    def finish(self) -> Finished:
        """Join the errors of all parts, record that the run is complete, and delete what is needed no longer."""
        names = set(self.folder.names())
        parts = range(len(self.run.source.parts))
        errors = [self.folder / name for name in map(self._errors_name, parts) if name in names]
        set_aside = self._join(errors)
        finished = Finished(scored=self.run.source.rows - set_aside, set_aside=set_aside)
        self._write_manifest(self.run.model_copy(update={"finished": finished}))
        for location in [*errors, *(self.folder / name for name in names if name.endswith(PARTIAL))]:
            location.delete()
        return finished

    def _join(self, files: Sequence[Location]) -> int:
        """Write `ERRORS`, and return the number of its lines."""
        if not files:
            return 0
        lines = 0
        with (self.folder / ERRORS).replacing() as stream:
            for file in files:
                content = file.read()
                lines += content.count(b"\n")
                stream.write(content)
        return lines

    def _errors_name(self, number: int) -> str:
        return f"_errors-{self.run.part_digits(number)}.jsonl"

    def _error(self, part: Part, fault: Fault) -> dict[str, object]:
        unit = "row" if self.run.source.format == "parquet" else "line"
        return {"file": part.file, unit: fault.line, "reason": fault.reason}

    def _write_manifest(self, run: Run) -> None:
        (self.folder / MANIFEST).write(run.model_dump_json(indent=1).encode() + b"\n")
