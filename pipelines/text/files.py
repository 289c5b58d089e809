"""Public data sets on disk: where they lie and how they are opened."""

import csv
import io
import lzma
import os
from pathlib import Path

DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def data_folder() -> Path:
    """The data sets' folder: `MUNJANG_DATA`, else `shared/data` beside the repository."""
    return Path(os.environ.get("MUNJANG_DATA", DEFAULT_FOLDER))


def read_text(path: Path) -> str:
    """The file's text, unpacked if it ends in .xz.

    Raises FileNotFoundError, naming the file and the two ways to point at the data, if it is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} is missing; give its folder with --data or MUNJANG_DATA")
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes()).decode("utf-8-sig")
    return path.read_text(encoding="utf-8-sig")


def read_tsv(path: Path) -> list[list[str]]:
    """Rows of a tab-separated file without quoting; a header line, if there is one, comes first."""
    return [line.split("\t") for line in read_text(path).replace("\r\n", "\n").split("\n") if line]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a comma-separated file by column name."""
    return list(csv.DictReader(io.StringIO(read_text(path))))
