"""Data to measure checkpoints on, in seconds."""

import json
from pathlib import Path

from tests.pipelines.cola.rows import good_sentences, row
from tests.pipelines.qa.rows import article


def write_small_data(folder: Path) -> dict[str, Path]:
    """By task, a small file of its usual format."""
    sentences = good_sentences()
    pairs = [f"{a},{b},{number % 6}" for number, (a, b) in enumerate(zip(sentences, sentences[3:], strict=False))]
    contents = {
        "sts": ("dev.csv", "\n".join(["sentence1,sentence2,label", *pairs])),
        "cola": ("dev.tsv", "".join(row(sentence, number % 3 > 0) for number, sentence in enumerate(sentences))),
        "qa": ("dev.json", json.dumps({"data": [article(number) for number in range(4)]})),
    }
    for name, text in contents.values():
        (folder / name).write_text(text, encoding="utf-8")
    return {task: folder / name for task, (name, _) in contents.items()}
