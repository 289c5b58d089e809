"""Tiny random models of the text-encoder families of transformers, with a tokenizer of the family's usual kind.

`python -m tests.pipelines.checkpoints.families` imports a model of each family for each task and prints the table of
docs/checkpoints.md; it takes some minutes.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from pipelines.checkpoints.importing import import_checkpoint
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import CheckpointError
from tests.checkpoint_factory import SAMPLE

MAX_TOKENS = 160
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
# Every config takes those of these that it has; families differ in the names.
SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_size", "dim"), 32),
    **dict.fromkeys(("intermediate_size", "d_inner", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("initializer_range", "init_std", "embed_init_std"), 0.3),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), MAX_TOKENS + 8),
    **dict.fromkeys(("bos_token_id",), 0),
    **dict.fromkeys(("pad_token_id", "pad_index"), 1),
    **dict.fromkeys(("eos_token_id",), 2),
}
FAMILIES: dict[str, dict[str, Any]] = {
    "albert": {},
    "bart": {},
    "bert": {},
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "camembert": {},
    "convbert": {"num_attention_heads": 4, "head_ratio": 2, "conv_kernel_size": 3},
    "data2vec-text": {},
    "deberta": {"pooler_hidden_size": 32},
    "deberta-v2": {"pooler_hidden_size": 32},
    "distilbert": {"dim": 32, "hidden_dim": 48, "n_heads": 2},
    "electra": {},
    "ernie": {},
    "esm": {},
    "eurobert": {"head_dim": 16},
    "flaubert": {},
    "fnet": {"type_vocab_size": 4},
    "funnel": {"block_sizes": [1, 1], "d_head": 16, "num_decoder_layers": 1},
    "gemma": {"head_dim": 16},
    "gpt2": {},
    "gpt_neox": {},
    "ibert": {},
    "llama": {"head_dim": 16},
    "longformer": {"attention_window": [8, 8]},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "mbart": {},
    "megatron-bert": {},
    "mistral": {"head_dim": 16},
    "mobilebert": {"true_hidden_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 1},
    "modernbert": {"local_attention": 16},
    "mpnet": {},
    "mra": {"block_per_row": 2},
    "nomic_bert": {},
    "nystromformer": {"num_landmarks": 8, "segment_means_seq_len": 8},
    "opt": {"word_embed_proj_dim": 32},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "reformer": {
        "attn_layers": ["local"] * 2,
        "axial_pos_embds": False,
        "is_decoder": False,
        "local_attn_chunk_length": 8,
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 32},
    "roberta": {},
    "roberta-prelayernorm": {},
    "roformer": {},
    "squeezebert": {},
    "t5": {"d_kv": 16, "decoder_start_token_id": 1},
    "umt5": {"d_kv": 16},
    "xlm": {"use_lang_emb": False, "n_langs": 1},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xlnet": {},
    "xmod": {"languages": ["ko_KR"], "default_language": "ko_KR"},
    "yoso": {},
}
HEADS: dict[str, Any] = {
    "cola": AutoModelForSequenceClassification,
    "qa": AutoModelForQuestionAnswering,
    "sts": AutoModel,
}


TASKS = ("sts", "cola", "qa")
NO_HEAD = "no head"
PAGE = ROOT / "docs" / "checkpoints.md"


def outcome(family: str, task: str, scratch: Path) -> str:
    """What becomes of a model of the family at import: "yes", "alone" if it is served without padding, or why not."""
    try:
        source = save(family, task, scratch / f"{family}-{task}")
    except (ValueError, TypeError):  # transformers has no such head, or can't save what it made
        return NO_HEAD
    try:
        manifest = import_checkpoint(str(source), scratch / f"{family}-{task}-imported")
    except CheckpointError as error:
        return f"no: {error}"
    return "yes" if manifest.padded else "alone"


def engine(family: str, task: str, scratch: Path) -> str:
    """What runs the model that `outcome` imported on a CPU."""
    traced = (scratch / f"{family}-{task}-imported" / "model.onnx").is_file()
    return "ONNX Runtime" if traced else "PyTorch"


def rows_of_page() -> dict[str, dict[str, str]]:
    """The table of the page: by family, the outcome by task, and the engine."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if " | " in line]
    names = [*TASKS, "engine"]
    return {
        cells[0].strip("`"): dict(zip(names, cells[1:], strict=True))
        for cells in lines
        if cells[0].strip("`") in FAMILIES
    }


def main() -> int:
    """Print the table. Graphs are made of the models for CoLA only: tracing is what takes the time."""
    sys.stdout.write("| family | STS | CoLA | QA | on a CPU |\n|---|---|---|---|---|\n")
    for family in FAMILIES:
        with TemporaryDirectory() as scratch:
            cola = outcome(family, "cola", Path(scratch))
            runs_on = engine(family, "cola", Path(scratch))
            with patch("pipelines.engines.onnx_export.write_onnx", side_effect=RuntimeError("not traced")):
                sts, qa = (outcome(family, task, Path(scratch)) for task in ("sts", "qa"))
        sys.stdout.write(f"| `{family}` | {sts} | {cola} | {qa} | {runs_on} |\n")
        sys.stdout.flush()
    return 0


def save(family: str, task: str, folder: Path) -> Path:
    """Save a model of the family, with a head for the task (STS: none), and a tokenizer, as the library does."""
    tokenizer = TOKENIZERS.get(family, unigram)()
    named = AutoConfig.for_model(family).to_dict()
    sizes = {name: value for name, value in SMALL.items() if name in named}
    labels = {"id2label": {0: "unacceptable", 1: "acceptable"}} if task == "cola" else {}
    config = AutoConfig.for_model(family, **sizes | {"vocab_size": len(tokenizer)} | FAMILIES[family] | labels)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        HEADS[task].from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pieces(count: int = 300) -> list[str]:
    """The most frequent strings of two to four characters within the words of the sample, in a fixed order.

    The trainers of the library break ties at random, and models of other texts' lengths behave otherwise.
    """
    words = [word for text in SAMPLE for word in text.split()]
    found = Counter(word[at : at + size] for word in words for size in (2, 3, 4) for at in range(len(word) - size + 1))
    return sorted(found, key=lambda piece: (-found[piece], piece))[:count]


def letters() -> list[str]:
    """The characters of the sample."""
    return sorted({letter for text in SAMPLE for letter in text if not letter.isspace()})


def unigram() -> PreTrainedTokenizerBase:
    """SentencePiece's kind of tokenizer, as XLM-R has it."""
    scores = {**dict.fromkeys(["▁", *letters()], -8.0), **dict.fromkeys(pieces(), -6.0)}
    tokenizer = Tokenizer(models.Unigram([(token, 0.0) for token in SPECIAL] + list(scores.items()), unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _fast(tokenizer, ["input_ids", "attention_mask"])


def wordpiece() -> PreTrainedTokenizerBase:
    """BERT's kind of tokenizer, which gives token types."""
    parts = [*letters(), *pieces()]
    vocabulary = dict.fromkeys([*SPECIAL, *parts, *(f"##{part}" for part in parts)])
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _fast(tokenizer, ["input_ids", "token_type_ids", "attention_mask"])


def byte_level() -> PreTrainedTokenizerBase:
    """GPT-2's and RoBERTa's kind of tokenizer."""
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("Ġ", "the"), ("Ġ", "i"), ("e", "n"), ("in", "g")]
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _fast(tokenizer, ["input_ids", "attention_mask"])


def _fast(tokenizer: Tokenizer, inputs: list[str]) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=inputs,
        model_max_length=MAX_TOKENS,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    **dict.fromkeys(("bert", "convbert", "electra", "ernie", "megatron-bert", "mobilebert", "squeezebert"), wordpiece),
    **dict.fromkeys(("big_bird", "distilbert", "funnel", "nystromformer", "roformer"), wordpiece),
    **dict.fromkeys(("bart", "gpt2", "longformer", "roberta", "roberta-prelayernorm", "opt", "gpt_neox"), byte_level),
    **dict.fromkeys(("deberta", "modernbert", "luke"), byte_level),
}


if __name__ == "__main__":
    sys.exit(main())
