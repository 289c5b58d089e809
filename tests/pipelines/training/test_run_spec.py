from pathlib import Path
from typing import Any

import pytest

from pipelines.training.base import Base
from pipelines.training.run_spec import run_name, search_name
from pipelines.training.settings import TrainingSettings

BASE = Base("owner/name", "owner/name", "a" * 40)
OTHER = Base("owner/name", "owner/name", "b" * 40)
PARTS: dict[str, Any] = {
    "label": "cola-owner/name 0",
    "base": BASE,
    "settings": TrainingSettings(),
    "options": 128,
    "stages": ["a", "b"],
    "dev": ["c"],
}


def test_a_name_can_name_a_folder_and_is_always_the_same() -> None:
    assert run_name(**PARTS) == run_name(**PARTS)
    assert run_name(**PARTS).startswith("cola-owner-name-0-")
    assert "/" not in run_name(**PARTS)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("base", OTHER),
        ("settings", TrainingSettings(seed=1)),
        ("options", 64),
        ("stages", ["b", "a"]),
        ("dev", ["d"]),
    ],
)
def test_everything_that_changes_the_result_changes_the_name(part: str, other: object) -> None:
    assert run_name(**PARTS) != run_name(**(PARTS | {part: other}))


def test_the_name_of_a_search_depends_on_all_its_bases() -> None:
    parts = {name: part for name, part in PARTS.items() if name != "base"}
    names = [search_name(bases=bases, **parts) for bases in ([BASE], [BASE, OTHER], [OTHER])]
    assert names[0] == search_name(bases=[BASE], **parts)
    assert len({*names, run_name(**PARTS)}) == 4


def test_changed_files_of_a_base_change_the_name(tmp_path: Path) -> None:
    parts = PARTS | {"base": Base(str(tmp_path), "mine", None)}
    (tmp_path / "weights").write_text("old")
    before = run_name(**parts)
    (tmp_path / "weights").write_text("newer")
    assert run_name(**parts) != before
