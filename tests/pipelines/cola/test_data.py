from pathlib import Path

import pytest

from pipelines.cola.data import load, read_minimal_pairs, read_sentences
from tests.pipelines.cola.rows import good_sentences, write_cola, write_text


def test_no_sentence_is_in_two_sets(tmp_path: Path) -> None:
    train = [(sentence, True) for sentence in good_sentences()]
    cola = load(write_cola(tmp_path, train * 2, train[:5]), held_out_share=0.25, seed=0)
    sets = [{row.sentence for row in rows} for rows in (cola.train, cola.held_out, cola.dev)]
    assert [len(rows) for rows in sets][2] == 5
    assert sum(len(rows) for rows in sets) == len(set.union(*sets)) == len(train)


def test_labels_are_read(tmp_path: Path) -> None:
    cola = load(write_cola(tmp_path, [], [("Fine this is.", False), ("This is fine.", True)]), 0.1, seed=0)
    assert [row.acceptable for row in cola.dev] == [False, True]


def test_text_becomes_plain_sentences_once_each(tmp_path: Path) -> None:
    sentences = [" ".join(words) for words in read_sentences(write_text(tmp_path), seed=0)]
    assert len(sentences) == len(set(sentences))
    assert set(good_sentences()) <= set(sentences)
    assert "The bird doesn't sing, or so they say." in sentences
    assert not any("<unk>" in sentence or "spam" in sentence for sentence in sentences)


def test_minimal_pairs_are_good_then_bad(tmp_path: Path) -> None:
    assert read_minimal_pairs(write_text(tmp_path)) == [("The boys walk.", "The boys walks.")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in_domain_dev"):
        load(tmp_path, 0.1, seed=0)
