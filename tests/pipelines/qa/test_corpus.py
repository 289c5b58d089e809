import json
import lzma
from pathlib import Path

from pipelines.qa import corpus
from pipelines.qa.corpus import SENTENCES, cloze_examples, english_examples, korean_passages

SENTENCE = "시립 도서관은 {}년에 부산에서 처음 문을 열었다."


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())


def folder_of_texts(folder: Path) -> Path:
    long = " ".join(SENTENCE.format(year) for year in range(1900, 1906))
    for number, name in enumerate(corpus.BOOLQ):
        write(folder / name, f"ID\tText\tQuestion\tAnswer\n1\t{long} {number}\t?\tTRUE\n2\t{long} {number}\t?\tFALSE\n")
    for name in (corpus.KAIST, corpus.GSD):
        rows = [f"{name}-{year // 10}\t{SENTENCE.format(year)}\t\t" for year in range(1990, 2010)]
        write(folder / name, "\n".join(["file\ttext\ttokens\tupos", *rows]) + "\n")
    for name in corpus.NEWS:
        write(folder / name, "\n".join(SENTENCE.format(year) for year in range(1800, 1800 + SENTENCES)))
    return folder


def test_passages_are_paragraphs_and_groups_of_sentences_of_one_text(tmp_path: Path) -> None:
    passages = korean_passages(folder_of_texts(tmp_path))
    assert len(passages) == len(set(passages))
    assert sum(text.endswith((" 0", " 1", " 2")) for text in passages) == len(corpus.BOOLQ)
    grouped = [text for text in passages if "1999년" in text and "2000년" in text]
    assert len(grouped) == 1  # of GSD, which has one text; Kaist's ends with 1999
    assert all(text.count("도서관") <= SENTENCES for text in passages)


def test_made_questions_depend_on_the_seed_alone(tmp_path: Path) -> None:
    passages = korean_passages(folder_of_texts(tmp_path))
    first, again, other = (cloze_examples(passages, 2, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(passages) < len(first) <= 2 * len(passages)


def test_english_questions_come_from_all_their_files(tmp_path: Path) -> None:
    for name in corpus.ENGLISH:
        answer = {"text": "Busan", "answer_start": 17}
        question = {"id": name, "question": "Where?", "answers": [answer]}
        paragraph = {"context": "The museum is in Busan.", "qas": [question]}
        write(tmp_path / name, json.dumps({"data": [{"title": "", "paragraphs": [paragraph]}]}))
    assert [example.id for example in english_examples(tmp_path)] == list(corpus.ENGLISH)
