"""WordPiece vocabularies trained from text, with BERT's special tokens and pair types."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pipelines.korean import PARTICLE_PATTERN

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONTINUATION = "##"
CHARACTER_SHARE = 0.75
"""Pieces that may be single characters. Korean needs some 1,500 syllables, each as a beginning and as a continuation;
a word with a syllable left out is unknown as a whole."""


def train_wordpiece(
    texts: Iterable[str], vocab_size: int, max_tokens: int | None, *, split_particles: bool = False
) -> PreTrainedTokenizerFast:
    """A lower-casing tokenizer of at most `vocab_size` pieces, special tokens included.

    `x` becomes [CLS] x [SEP], a pair [CLS] a [SEP] b [SEP] with types 0 and 1. `max_tokens` is what
    `truncation=True` cuts to, special tokens included; None: nothing. NFC and NFD spellings of a text give the same
    ids, and the same texts always give the same vocabulary.

    With `split_particles` a Korean particle is a word of its own, so that a noun ends where a token does.
    """
    vocabulary = train_vocabulary(texts, vocab_size, split_particles=split_particles)
    tokenizer = _blank_tokenizer(vocabulary, split_particles=split_particles)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **({} if max_tokens is None else {"model_max_length": max_tokens}),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def train_vocabulary(texts: Iterable[str], vocab_size: int, *, split_particles: bool = False) -> dict[str, int]:
    """Ids by piece: special tokens first, then single characters, then longer pieces by frequency.

    At most CHARACTER_SHARE of them are single characters, the most frequent ones.
    """
    tokenizer = _blank_tokenizer({"[UNK]": 0}, split_particles=split_particles)
    words = count_words(tokenizer, texts)
    # The trainer numbers characters in the order of a randomly seeded hash table and breaks ties by number. Handing
    # it all of them as special tokens fixes the numbers, and so the vocabulary.
    alphabet = frequent_characters(words, round(CHARACTER_SHARE * vocab_size))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *alphabet],
        initial_alphabet=[piece for piece in alphabet if len(piece) == 1],
        limit_alphabet=sum(len(piece) == 1 for piece in alphabet),
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer.train_from_iterator((word for word, count in sorted(words.items()) for _ in range(count)), trainer)
    return tokenizer.get_vocab()


def count_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each normalised word occurs."""
    words: Counter[str] = Counter()
    for text in texts:
        normalized = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized))
    return words


def frequent_characters(words: Counter[str], count: int) -> list[str]:
    """The most frequent characters as pieces: as a word begins with it, and, if any word does, as it goes on with it.

    `count` pieces in all, or one fewer, since a character comes with all of its pieces.
    """
    frequency: Counter[str] = Counter()
    for word, times in words.items():
        frequency.update(dict.fromkeys(word, times))
    inner = {character for word in words for character in word[1:]}
    pieces: list[str] = []
    for character in sorted(frequency, key=lambda character: (-frequency[character], character)):
        forms = [character, CONTINUATION + character] if character in inner else [character]
        if len(pieces) + len(forms) > count:
            break
        pieces += forms
    return sorted(pieces)


def _blank_tokenizer(vocabulary: dict[str, int], *, split_particles: bool) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=CONTINUATION)
    tokenizer = Tokenizer(model)
    # NFC comes first: macOS and some web forms send Hangul as separate letters (NFD), which are other ids.
    # Accents stay, since stripping them decomposes Hangul.
    bert = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), bert])
    words = pre_tokenizers.BertPreTokenizer()
    particles = pre_tokenizers.Split(Regex(PARTICLE_PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, particles]) if split_particles else words
    return tokenizer
