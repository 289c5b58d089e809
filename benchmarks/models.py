"""The models of the benchmarks: two BERT bi-encoders with random weights, made when needed, and the shipped checkpoint.

    python -m benchmarks.models small base --data ../shared/data

Speed does not depend on the values of the weights. The folders have the format of sentence-transformers 2, so peers
with older and newer versions can load the same files.
"""

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmarks.pairs import Pair, read_pairs, stream, take
from pipelines.sts.data import KLUE_DEV, KLUE_TRAIN
from pipelines.text.files import data_folder

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / ".models"
SHIPPED = ROOT / "checkpoints" / "sts"
MANIFEST = "manifest.json"
SIZES = {
    "small": {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
VOCABULARIES = {"small": 8_000, "base": 32_000}
NAMES = (*SIZES, "shipped")
MAX_TOKENS = 512
WORD_DEVIATION = 0.2
"""Standard deviation of the random word embeddings. With BERT's 0.02 the position and type embeddings, which all
sentences share, make every cosine .9 or more, and a check of scores would find no faults."""
CHECKED_PAIRS = 100
CHECKED_SEED = 1_000


def folder_of(name: str, data: Path) -> Path:
    """The sentence-transformers folder of a model, which is made where it is missing."""
    if name == "shipped":
        return readable_by_all(SHIPPED)
    folder = FOLDER / name
    if not folder.is_dir():
        FOLDER.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=FOLDER) as scratch:
            make(name, data, Path(scratch) / name)
            (Path(scratch) / name).rename(folder)
    return folder


def readable_by_all(shipped: Path) -> Path:
    """A copy of a BERT checkpoint with mean pooling in the format of sentence-transformers 2, which Infinity needs."""
    folder = FOLDER / "shipped"
    if (folder / MANIFEST).is_file() and filecmp.cmp(folder / MANIFEST, shipped / MANIFEST, shallow=False):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(shipped, folder)
    _write(folder / "tokenizer_config.json", _tokenizer_readable_by_all(folder / "tokenizer_config.json"))
    _write_modules(folder, json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"])
    return folder


def prompt_of(name: str) -> str:
    """What a bi-encoder wants before each text. sentence-transformers adds it, Infinity leaves it to the caller."""
    settings = json.loads((SHIPPED / "config_sentence_transformers.json").read_text())
    return settings["prompts"].get(settings["default_prompt_name"], "") if name == "shipped" else ""


def make(name: str, data: Path, folder: Path) -> None:
    """Write a bi-encoder with mean pooling and a vocabulary trained on KLUE-STS train."""
    texts = [text for pair in read_pairs(data) for text in pair]
    tokenizer = train_wordpiece(texts, VOCABULARIES[name], MAX_TOKENS)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=VOCABULARIES[name], max_position_embeddings=MAX_TOKENS, **SIZES[name])
    model = BertModel(config)
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=WORD_DEVIATION)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write(folder / "tokenizer_config.json", _tokenizer_readable_by_all(folder / "tokenizer_config.json"))
    _write_modules(folder, MAX_TOKENS)


def _write_modules(folder: Path, max_tokens: int) -> None:
    """Write what sentence-transformers 2 needs beside a BERT model: mean pooling and the longest text."""
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    size = json.loads((folder / "config.json").read_text())["hidden_size"]
    pooling = {"word_embedding_dimension": size, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
    )


def train_wordpiece(texts: Iterable[str], vocab_size: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Train a lower-casing WordPiece tokenizer of at most `vocab_size` pieces, which cuts texts at `max_tokens`."""
    trained = BertWordPieceTokenizer(strip_accents=False)  # stripping accents would decompose Hangul
    trained.train_from_iterator(texts, vocab_size=vocab_size, show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _tokenizer_readable_by_all(path: Path) -> dict[str, object]:
    """The configuration with a tokenizer class that transformers 4 and 5 know; version 5 writes one unknown to 4."""
    return json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def imported(name: str, data: Path) -> Path:
    """The model as a checkpoint with an int8 graph; the project's own command makes it where it is missing."""
    if name == "shipped":
        return SHIPPED
    source = folder_of(name, data)
    folder = FOLDER / f"{name}-munjang"
    if not folder.is_dir():
        command = [sys.executable, "-m", "pipelines.checkpoints", "import", str(source), str(folder)]
        examples = {"--calibration": data / KLUE_TRAIN, "--dev": data / KLUE_DEV}
        subprocess.run([*command, *(str(word) for pair in examples.items() for word in pair)], cwd=ROOT, check=True)
    return folder


def expected(name: str, data: Path) -> tuple[list[Pair], list[float]]:
    """Pairs, and their scores by sentence-transformers in fp32, one pair at a time. The scores are kept in a file."""
    pairs = take(stream(read_pairs(data), CHECKED_SEED), CHECKED_PAIRS)
    path = FOLDER / f"{name}.expected.json"
    if not path.is_file():
        model = SentenceTransformer(str(folder_of(name, data)), device="cpu", model_kwargs={"dtype": torch.float32})
        both = [model.encode(list(pair), normalize_embeddings=True) for pair in pairs]
        FOLDER.mkdir(exist_ok=True)
        _write(path, [float(left @ right) for left, right in both])
    return pairs, json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=NAMES)
    parser.add_argument("--data", type=Path, default=data_folder())
    arguments = parser.parse_args()
    for name in arguments.models:
        scores = sorted(expected(name, arguments.data)[1])
        print(folder_of(name, arguments.data), f"scores from {scores[0]:.3f} to {scores[-1]:.3f}")


if __name__ == "__main__":
    main()
