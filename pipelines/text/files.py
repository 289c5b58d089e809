"""Find and read public data sets on disk."""

import csv
import io
import lzma
import os
from pathlib import Path

DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def data_folder() -> Path:
    """The folder of the data sets: `MUNJANG_DATA`, or `shared/data` beside the repository if that is not set."""
    return Path(os.environ.get("MUNJANG_DATA", DEFAULT_FOLDER))


def read_text(path: Path) -> str:
    """The text of a file, decompressed if its name ends in .xz.

    Raises FileNotFoundError if it is missing; the message names the file and the two ways to set the data folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} is missing; give its folder with --data or MUNJANG_DATA")
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes()).decode("utf-8-sig")
    return path.read_text(encoding="utf-8-sig")


def read_tsv(path: Path) -> list[list[str]]:
    """Rows of a tab-separated file without quoting. A header line, if present, is the first row."""
    return [line.split("\t") for line in read_text(path).replace("\r\n", "\n").split("\n") if line]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a comma-separated file, each a dictionary by column name."""
    return list(csv.DictReader(io.StringIO(read_text(path))))
