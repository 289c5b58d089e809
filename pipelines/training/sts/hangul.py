"""A tokenizer step that removes everything but Hangul. It is saved with the tokenizer, so serving does the same."""

from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

NOT_HANGUL = Regex("[^가-힣ㄱ-ㅎㅏ-ㅣ]+")
"""Everything but Hangul syllables and letters (Unicode 16: Hangul Syllables and Hangul Compatibility Jamo)."""


def hangul_only(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """Add a step before the tokenizer that replaces each run of other characters by one space.

    The result is a plain PreTrainedTokenizerFast: transformers rebuilds the tokenizers of its model-specific classes
    when it loads them, and would drop the step.
    """
    fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    strip = [normalizers.NFC(), normalizers.Replace(NOT_HANGUL, " "), normalizers.Strip()]
    fast.normalizer = normalizers.Sequence([*strip, *([fast.normalizer] if fast.normalizer else [])])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
