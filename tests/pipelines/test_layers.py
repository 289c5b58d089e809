"""Who may import what."""

import ast
from pathlib import Path

from pipelines.checkpoints.resolve import ROOT

MAY_IMPORT_RAY = {"training/on_ray.py", "training/on_tune.py"}


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_of_the_pipelines_only_files_that_train_or_tune_import_ray() -> None:
    folder = ROOT / "pipelines"
    importing = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if "ray" in imported(path)}
    assert importing == MAY_IMPORT_RAY


def test_the_pipelines_know_nothing_of_the_deployments() -> None:
    assert [path for path in (ROOT / "pipelines").rglob("*.py") if "deployments" in imported(path)] == []
