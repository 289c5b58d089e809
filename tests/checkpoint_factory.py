"""Make tiny random checkpoints: two layers, 32 dimensions, a vocabulary of mostly single characters.

`make_checkpoint(kind, folder)` writes one as its library would save it; `make_imported(kind, folder)` writes one in the
project's format. `KINDS` lists the kinds.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaTokenizer,
)

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.tasks.registry import TASKS

MAX_TOKENS = 160
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["오늘", "과제", "회의", "the", "The", "museum", "##습니다", "##에서", "##ing"]
SAMPLE = [
    "오늘 과제는 코딩 과제입니다.",
    "저도 그 의견 좋습니다. 안녕하세요",
    "각낱말을 한글로 쓴다, 값이 없다!",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 .,?!'()-é",
    *(text for task in TASKS.values() for inputs in task.golden for text in inputs),
]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "initializer_range": 0.3,  # far from zero, so that different inputs give clearly different outputs
}


def make_checkpoint(kind: str, folder: Path, seed: int = 0) -> Path:
    """Create `folder` with a checkpoint of one of `KINDS`; the same seed gives the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _MAKERS[kind](folder)
    return folder


def make_imported(kind: str, folder: Path, seed: int = 0) -> Path:
    """Make a checkpoint in the project's format; `folder` must not exist.

    The kind "static in float16" is the kind "static" with weights stored in float16.
    """
    kind, _, weights = kind.partition(" in ")
    with TemporaryDirectory() as scratch:
        import_checkpoint(str(make_checkpoint(kind, Path(scratch) / kind, seed)), folder, weights=weights or None)
    return folder


def make_base(folder: Path, **tokenizer_config: Any) -> Path:
    """The base model of a Lightning file: a config and a cased WordPiece vocabulary, no weights or tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = bert_config()
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(folder)
    _write_wordpiece(folder, **tokenizer_config)
    return folder


def bert_config(**changes: Any) -> BertConfig:
    """The config of all BERT models here, with `changes` applied."""
    return BertConfig(**{"vocab_size": len(_wordpieces()), "max_position_embeddings": MAX_TOKENS, **SIZES, **changes})


def wordpiece(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that `make_base` wrote to `folder`."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def save_with_wordpiece(model: PreTrainedModel, folder: Path) -> None:
    """Save the model and the WordPiece tokenizer as transformers does."""
    with TemporaryDirectory() as scratch:
        tokenizer = wordpiece(make_base(Path(scratch)))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _wordpieces() -> list[str]:
    letters = sorted({letter for text in SAMPLE for letter in text if not letter.isspace()})
    return [*SPECIAL, *PIECES, *letters, *(f"##{letter}" for letter in letters)]


def _write_wordpiece(folder: Path, **changes: Any) -> None:
    config = {"do_lower_case": False, "model_max_length": MAX_TOKENS, "tokenizer_class": "BertTokenizer", **changes}
    (folder / "vocab.txt").write_text("\n".join(_wordpieces()) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _bi_encoder(folder: Path) -> None:
    with TemporaryDirectory() as scratch:
        _bare_encoder(Path(scratch))
        transformer = Transformer(scratch)
        modules = [transformer, Pooling(SIZES["hidden_size"], "mean"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def _static(folder: Path) -> None:
    with TemporaryDirectory() as scratch:
        tokenizer = wordpiece(make_base(Path(scratch)))
    modules = [StaticEmbedding(tokenizer, embedding_dim=SIZES["hidden_size"])]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def _sigmoid_cross_encoder(folder: Path) -> None:
    with TemporaryDirectory() as scratch:
        _cross_encoder(Path(scratch))
        model = CrossEncoder(scratch, device="cpu", activation_fn=torch.nn.Sigmoid())
        model.save(str(folder), create_model_card=False)


def _bare_encoder(folder: Path) -> None:
    save_with_wordpiece(BertModel(bert_config()), folder)


def _cross_encoder(folder: Path) -> None:
    config = bert_config(num_labels=1, problem_type="regression")  # as transformers writes a model of scores
    save_with_wordpiece(BertForSequenceClassification(config), folder)


def _classifier(folder: Path) -> None:
    save_with_wordpiece(BertForSequenceClassification(bert_config(num_labels=2)), folder)


def _distilbert_classifier(folder: Path) -> None:
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    sizes = {names.get(name, name): value for name, value in SIZES.items() if name != "intermediate_size"}
    config = DistilBertConfig(
        vocab_size=len(_wordpieces()), max_position_embeddings=MAX_TOKENS, hidden_dim=48, num_labels=2, **sizes
    )
    save_with_wordpiece(DistilBertForSequenceClassification(config), folder)


def _extractor(folder: Path) -> None:
    save_with_wordpiece(BertForQuestionAnswering(bert_config()), folder)


def _roberta_extractor(folder: Path) -> None:
    tokenizer = _byte_level(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_TOKENS + 2,  # positions start after the pad id, 1
        type_vocab_size=1,
        **SIZES,
    )
    RobertaForQuestionAnswering(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _byte_level(folder: Path) -> PreTrainedTokenizerBase:
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(SAMPLE, vocab_size=400, show_progress=False, special_tokens=special)
    vocabulary, merges = (Path(path) for path in trained.save_model(str(folder)))
    return RobertaTokenizer(
        vocab=json.loads(vocabulary.read_text(encoding="utf-8")),
        merges=[tuple(line.split()) for line in merges.read_text(encoding="utf-8").splitlines()[1:]],
        mask_token=AddedToken("<mask>", lstrip=True),
        model_max_length=MAX_TOKENS,
    )


_MAKERS: dict[str, Callable[[Path], None]] = {
    "bi-encoder": _bi_encoder,
    "static": _static,
    "bare-encoder": _bare_encoder,
    "cross-encoder": _cross_encoder,
    "cross-encoder-sigmoid": _sigmoid_cross_encoder,
    "classifier": _classifier,
    "classifier-distilbert": _distilbert_classifier,
    "extractor": _extractor,
    "extractor-roberta": _roberta_extractor,
}
KINDS = tuple(_MAKERS)
HALF_PRECISION_KINDS = ("classifier in float16", "static in float16", "bi-encoder in bfloat16")
