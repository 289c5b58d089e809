from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering

from pipelines.checkpoints.manifest import Training
from pipelines.checkpoints.verify import verify
from pipelines.qa.corpus import cloze_examples
from pipelines.qa.data import Example, load
from pipelines.qa.from_scratch import Recipe, Sources, export, train
from pipelines.qa.overlap import GRADES
from tests.pipelines.qa.rows import article, write_korquad

TINY = Recipe(
    vocab_size=250,
    hidden_size=32,
    dilations=(1, 2),
    question_attention=(1,),
    common_tokens=100,
    steps=60,
    warmup_steps=5,
    batch_size=8,
    averaging=0.8,
)


def sources(examples: list[Example]) -> Sources:
    english = "The roof of the old house is red."
    red = english.index("red")
    return Sources(
        examples,
        cloze_examples([example.context for example in examples], 2, seed=0),
        [Example("english", "What colour is the roof?", english, red, red + 3)],
    )


def test_training_learns_and_exports_a_checkpoint_that_verifies(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = write_korquad(tmp_path / "data", [article(number) for number in range(12)])
    examples, test = load(data, train_articles=9)
    tokenizer, model = train(sources(examples), TINY)
    training = Training(data=["hand-made"], seed=0, command="none", minutes=0)
    manifest = export(tokenizer, model, tmp_path / "qa", training, examples, test, TINY.windows)
    assert manifest.scores["korquad_f1"] > manifest.floors["korquad_f1"]
    assert verify(tmp_path / "qa", "qa") == manifest
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "qa")
    assert (loaded.config.overlap_types, loaded.config.question_attention) == (GRADES, [1])


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    examples = load(write_korquad(tmp_path, [article(number) for number in range(3)]))[0]
    recipe = Recipe(
        vocab_size=250, hidden_size=8, dilations=(1,), question_attention=(0,), common_tokens=9, steps=3, batch_size=4
    )
    (_, first), (_, second) = train(sources(examples), recipe), train(sources(examples), recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
