"""Text of which nothing is left but Hangul, as a step of the tokenizer: whoever loads it, strips the same."""

from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

OTHERS = Regex("[^가-힣ㄱ-ㅎㅏ-ㅣ]+")
"""Whatever is neither a syllable nor a letter of Hangul (Unicode 16, Hangul Syllables and Compatibility Jamo)."""


def hangul_only(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """The tokenizer behind a step that puts one space in the place of all that is not Hangul.

    Of the general class, since transformers builds those of its own classes anew and would leave the step out.
    """
    fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    strip = [normalizers.NFC(), normalizers.Replace(OTHERS, " "), normalizers.Strip()]
    fast.normalizer = normalizers.Sequence([*strip, *([fast.normalizer] if fast.normalizer else [])])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
