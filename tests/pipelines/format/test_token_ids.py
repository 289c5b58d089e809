"""Token ids in and out, on the shipped checkpoint, whose prompt is "query: ", and on tiny ones."""

import asyncio
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.choice import EngineSettings
from pipelines.engines.model_stage import in_process, in_process_model
from pipelines.errors import InvalidInput, WrongKind
from pipelines.format.manifest import verify
from pipelines.format.token_ids import IdTokenizer
from pipelines.format.tokenizer import TextTokenizer
from pipelines.sts.model import load
from pipelines.sts.pipeline import Embedding, InputPipeline
from tests.conftest import MakeCheckpoint

STS = Path(__file__).parents[3] / "checkpoints" / "sts"
TEXTS = [
    "오늘 과제는 코딩 과제입니다.",
    "The museum is open.",
    "각 값 👩\u200d👩\u200d👧 é",
    unicodedata.normalize("NFD", "안녕하세요"),
]


def of(folder: Path) -> tuple[TextTokenizer, IdTokenizer]:
    manifest = verify(folder, "sts")
    text = TextTokenizer.load(folder, manifest)
    return text, IdTokenizer(text, manifest)


@pytest.fixture(scope="module")
def shipped() -> tuple[TextTokenizer, IdTokenizer]:
    return of(STS)


@pytest.mark.parametrize("whole_input", [True, False])
def test_the_ids_of_a_text_are_the_same_input_as_the_text(
    shipped: tuple[TextTokenizer, IdTokenizer], whole_input: bool
) -> None:
    text, ids = shipped
    shown = ids.tokens(TEXTS, "symmetric", whole_input=whole_input)
    given = [(tuple(token.id for token in tokens), "symmetric") for tokens in shown]
    found = ids.inputs(given)  # type: ignore[arg-type]
    assert not found.faults
    expected = text.passages(TEXTS)
    np.testing.assert_array_equal(found.tokens.ids, expected.ids)
    np.testing.assert_array_equal(found.tokens.types, expected.types)
    np.testing.assert_array_equal(found.tokens.lengths, expected.lengths)


def test_texts_and_ids_mixed_keep_their_order(shipped: tuple[TextTokenizer, IdTokenizer]) -> None:
    text, ids = shipped
    own = tuple(token.id for token in ids.tokens([TEXTS[1]], "symmetric", whole_input=False)[0])
    found = ids.inputs([(TEXTS[0], "symmetric"), ((99_999,), "symmetric"), (own, "symmetric"), (TEXTS[2], "query")])
    assert list(found.faults) == [1]
    expected = [text.passages([TEXTS[0]]), text.passages([TEXTS[1]]), text.passages([TEXTS[2]], "query")]
    np.testing.assert_array_equal(found.tokens.ids, np.concatenate([one.ids for one in expected]))


def test_foreign_ids_and_too_many_are_faults(shipped: tuple[TextTokenizer, IdTokenizer]) -> None:
    _, ids = shipped
    found = ids.inputs([((100_256,), "symmetric"), ((5,) * 200, "symmetric"), ((5,), "symmetric")])
    assert [found.faults[number].faults[0].code for number in (0, 1)] == ["foreign_token_id", "too_many_tokens"]
    assert len(found.tokens) == 1
    with pytest.raises(InvalidInput):
        ids.decode([[5], [14_026]], skip_special_tokens=True)


@pytest.mark.parametrize("whole_input", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_have_their_place_in_the_original_text(
    shipped: tuple[TextTokenizer, IdTokenizer], text: str, whole_input: bool
) -> None:
    (tokens,) = shipped[1].tokens([text], "symmetric", whole_input=whole_input)
    placed = [token for token in tokens if token.start is not None]
    assert [token.special for token in tokens if token.start is None and token.special] == [True] * 2 * whole_input
    assert placed[0].start == 0
    assert placed[-1].stop == len(text)
    assert all(not token.special for token in placed)
    for token in placed:
        piece = unicodedata.normalize("NFKC", text[token.start : token.stop])
        assert token.text == "<unk>" or token.text.strip("▁") in piece


def test_decoding_gives_the_text_back(shipped: tuple[TextTokenizer, IdTokenizer]) -> None:
    text, ids = shipped
    batch = text.passages([TEXTS[0]])
    assert ids.decode([batch.ids.tolist()], skip_special_tokens=True) == [f"query: {TEXTS[0]}"]
    assert ids.decode([batch.ids.tolist()], skip_special_tokens=False)[0].startswith("<s>")


def embed(folder: Path, inputs: list[tuple[object, str]]) -> list[object]:
    manifest = verify(folder, "sts")
    model = load(folder, manifest, EngineSettings(dtype="float32"))
    pipeline = InputPipeline(in_process(of(folder)[1].inputs), in_process_model(model))

    async def run() -> list[object]:
        return list(await pipeline(inputs))  # type: ignore[arg-type]

    return asyncio.run(run())


@pytest.mark.slow
def test_embeddings_equal_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    composed = [unicodedata.normalize("NFC", text) for text in TEXTS]
    library = SentenceTransformer(str(STS), device="cpu").float()
    expected = library.encode(composed, normalize_embeddings=True)
    found = embed(STS, [(text, "symmetric") for text in TEXTS])
    vectors = np.stack([one.vector for one in found if isinstance(one, Embedding)])
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    assert [one.tokens for one in found if isinstance(one, Embedding)] == of(STS)[0].passages(TEXTS).lengths.tolist()


def test_a_bad_input_has_its_own_error_and_a_cross_encoder_has_no_embeddings(imported: MakeCheckpoint) -> None:
    good, bad = embed(imported("bi-encoder"), [("가", "symmetric"), ((10**6,), "symmetric")])
    assert isinstance(good, Embedding)
    assert isinstance(bad, InvalidInput)
    assert np.linalg.norm(good.vector) == pytest.approx(1, abs=1e-5)
    assert all(isinstance(one, WrongKind) for one in embed(imported("cross-encoder"), [("가", "symmetric")]))
    assert [type(one) for one in embed(imported("bi-encoder"), [((10**6,), "symmetric")])] == [InvalidInput]
