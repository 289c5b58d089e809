import argparse
from typing import Any, Self

import pytest
from pydantic import BaseModel, model_validator

from pipelines.training.command import add_options, parse
from pipelines.training.settings import RaySettings, TrainingSettings


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_options(parser, TrainingSettings, without={"seed"})
    add_options(parser, RaySettings)
    return parser


def read(parser: argparse.ArgumentParser, *words: str, **others: Any) -> tuple[TrainingSettings, RaySettings]:
    arguments = parser.parse_args(words)
    return parse(parser, arguments, TrainingSettings, **others), parse(parser, arguments, RaySettings)


def test_without_options_the_settings_have_their_defaults(parser: argparse.ArgumentParser) -> None:
    assert read(parser) == (TrainingSettings(), RaySettings())


def test_options_are_named_after_the_fields_and_read_as_their_types(parser: argparse.ArgumentParser) -> None:
    training, where = read(
        parser, "--learning-rate", "1e-3", "--schedule", "linear", "--use-gpu", "--num-workers", "4", seed=7
    )
    assert (training.learning_rate, training.schedule, training.seed) == (1e-3, "linear", 7)
    assert (where.use_gpu, where.num_workers) == (True, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--epochs", "0"), "--epochs: Input should be greater than or equal to 1"),
        (("--learning-rate", "fast"), "--learning-rate: Input should be a valid number"),
        (("--schedule", "cosine"), "argument --schedule: invalid choice"),
        (("--seed", "3"), "unrecognized arguments: --seed 3"),
    ],
)
def test_bad_values_end_the_program_and_name_the_option(
    parser: argparse.ArgumentParser, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(parser, *words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


class TextRangeSettings(BaseModel):
    fewest: int = 1
    most: int = 2

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fewest > self.most:
            raise ValueError("the fewest are more than the most")
        return self


def test_inconsistent_values_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, TextRangeSettings)
    assert "Text range settings:" in parser.format_help()
    with pytest.raises(SystemExit):
        parse(parser, parser.parse_args(["--fewest", "3"]), TextRangeSettings)
    assert "error: Value error, the fewest are more than the most" in capsys.readouterr().err


def test_every_option_is_explained_with_its_default(parser: argparse.ArgumentParser) -> None:
    text = " ".join(parser.format_help().split())
    assert "AdamW's highest rate. (default: 5e-05)" in text
    assert text.count("(default: ") == len(TrainingSettings.model_fields) - 1 + len(RaySettings.model_fields)
