"""Who may import what: each layer only those below it."""

import ast
from pathlib import Path

import pytest

from pipelines.checkpoints.resolve import ROOT

LAYERS = (
    ("errors",),
    ("command_line",),
    ("text",),
    ("format",),
    ("engines",),
    ("sts", "cola", "qa"),
    ("checkpoints",),
    ("bulk",),
    ("training",),
    ("measure",),
    ("chat",),
)
"""Of `pipelines/`, from the ground up; those of one line do not import each other."""
COMMANDS = {"evaluate.py", "sts/train.py", "sts/tune.py", "cola/train.py", "qa/train.py"}
"""What `python -m` runs stands outside of the layers: these files hand over to one that may be above their folder."""
MAY_IMPORT_RAY = {"bulk/on_ray.py", "training/on_ray.py", "training/on_tune.py"}
PIPELINES = ROOT / "pipelines"


def imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    """The top-level names of those modules."""
    return {name.partition(".")[0] for name in imported(path)}


def modules() -> list[str]:
    return sorted(path.relative_to(PIPELINES).as_posix() for path in PIPELINES.rglob("*.py"))


@pytest.mark.parametrize("module", [name for name in modules() if name not in COMMANDS and name != "__init__.py"])
def test_no_layer_imports_one_above_it_or_beside_it(module: str) -> None:
    own = module.partition("/")[0].removesuffix(".py")
    level = next(number for number, names in enumerate(LAYERS) if own in names)
    allowed = {own, *(name for names in LAYERS[:level] for name in names)}
    used = {name.split(".")[1] for name in imported(PIPELINES / module) if name.startswith("pipelines.")}
    assert used <= allowed


def test_only_files_that_distribute_work_import_ray() -> None:
    assert {name for name in modules() if "ray" in packages(PIPELINES / name)} == MAY_IMPORT_RAY


def test_the_pipelines_know_nothing_of_the_deployments() -> None:
    assert [name for name in modules() if "deployments" in packages(PIPELINES / name)] == []
