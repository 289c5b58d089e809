from math import nan
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.training.history import History
from pipelines.training.learner import Figures
from pipelines.training.trials import Trial, draw_trials, tabulate, winner, words


def key(figures: Figures) -> tuple[float, ...]:
    return figures["f1"], -figures["loss"]


def trial(number: int, *epochs: tuple[float, float], **config: Any) -> Trial:
    chosen = {"model": "bert", "epochs": len(epochs), "learning_rate": 10.0**-number, **config}
    return Trial(number, chosen, History(epochs=[{"f1": f1, "loss": loss} for f1, loss in epochs]))


TRIALS = [
    trial(1, (0.5, 0.4), (0.8, 0.3)),
    trial(2, (0.8, 0.2), (0.1, 0.9), model="owner/roberta"),
    trial(3, (0.8, 0.2), epochs=4),
    trial(4, (nan, nan)),
]


def test_the_best_is_the_one_with_the_best_epoch_and_the_first_of_equals() -> None:
    assert winner(TRIALS, key).number == 2
    assert winner(TRIALS[::-1], key).number == 2
    assert winner([TRIALS[3]], key).number == 4


def test_the_table_begins_with_the_best_and_says_which_were_stopped() -> None:
    head, _, *rows = tabulate(TRIALS, key).splitlines()
    assert head == "| trial | model | epochs | learning_rate | epochs done | f1 | loss |"
    assert rows == [
        "| 2 | owner/roberta | 2 | 0.01 | 2 | 0.8000 | 0.2000 |",
        "| 3 | bert | 4 | 0.001 | 1, stopped | 0.8000 | 0.2000 |",
        "| 1 | bert | 2 | 0.1 | 2 | 0.8000 | 0.3000 |",
        "| 4 | bert | 1 | 0.0001 | 1 | nan | nan |",
    ]


@pytest.mark.parametrize(("count", "panels"), [(4, 4), (1, 1)])
def test_the_picture_has_a_panel_for_all_that_differs(count: int, panels: int, tmp_path: Path) -> None:
    draw_trials(tmp_path / "trials.png", TRIALS[:count], "f1", key)
    with Image.open(tmp_path / "trials.png") as picture:
        assert (picture.format, picture.width / picture.height) == ("PNG", pytest.approx(panels * 4 / 3.6, rel=0.01))
        assert len(picture.getcolors(1 << 24) or []) > 10


def test_what_was_chosen_is_said_shortly() -> None:
    assert (
        words({"model": "bert", "epochs": 3, "learning_rate": 5.04e-5})
        == "model bert, epochs 3, learning_rate 5.04e-05"
    )
