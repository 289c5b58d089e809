"""Hand-made STS data for tests: every file that training reads, a few rows each."""

import csv
import io
import json
import lzma
from pathlib import Path

from pipelines.sts import data

PLACES = ("서울", "부산", "대구", "광주", "제주", "강릉", "전주", "수원")
QUESTIONS = (
    "{} 날씨 알려줘",
    "오늘 {} 날씨가 어때?",
    "지금 {}의 날씨를 말해줘",
    "{} 날씨 좀 알려줄래?",
    "{}에 비가 오는지 궁금해",
    "{} 기온이 몇 도야?",
    "{} 하늘은 맑은 편이야?",
    "{} 날씨를 확인해줘",
    "{} 오늘 날씨 어떤지 봐줘",
    "{} 쪽 날씨는 어떻지?",
)
PARAPHRASE_SETS = [[question.format(place) for question in QUESTIONS] for place in PLACES]
KLUE_TRAIN = [
    *((group[0], group[1], 4.5) for group in PARAPHRASE_SETS[1:]),
    *((f"{place}에서 만난 친구는 친절했다.", f"{place}에서 본 친구는 상냥했다.", 3.2) for place in PLACES),
    *((f"{place} 숙소는 깨끗했다.", f"{place} 음식은 비싸다.", 0.4) for place in PLACES),
]
KLUE_DEV = [(PARAPHRASE_SETS[0][0], PARAPHRASE_SETS[0][5], 3.1), ("숙소가 깨끗했다.", "표가 매진되었다.", 0.0)]
KORSTS = [("비행기가 이륙하고 있다.", "비행기가 막 이륙한다.", 4.6), ("남자가 걷는다.", "여자가 노래한다.", 0.8)]
KORSTS_DEV = [("고양이가 잔다.", "고양이가 자고 있다.", 4.8), ("개가 뛴다.", "물이 끓는다.", 0.1)]


def write_all(folder: Path) -> Path:
    """The data folder."""
    dev = [{"sentence1": a, "sentence2": b, "labels": {"real-label": score}} for a, b, score in KLUE_DEV]
    nli = [{"premise": "방이 넓다.", "hypothesis": "방은 좁지 않다.", "gold_label": "entailment"}]
    xnli = "sentence1\tsentence2\tgold_label\n"
    xnli += "그는 달렸다.\t그는 움직였다.\tentailment\n그는 잤다.\t그는 뛰었다.\tcontradiction\n"
    topics = "\r\n".join(f"0\t0\t{sentence}" for group in PARAPHRASE_SETS for sentence in group)
    questions = [{"question1": "헤어졌어", "question2": "이별했어", "is_duplicate": 0}]
    questions.append({"question1": "배고파", "question2": "졸려", "is_duplicate": 1})
    klue = [{"sentence1": a, "sentence2": b, "label": score} for a, b, score in KLUE_TRAIN]
    files = {
        data.KLUE_TRAIN: _csv(klue),
        data.KLUE_DEV: json.dumps(dev),
        data.KLUE_NLI: json.dumps(nli),
        data.KORSTS_TRAIN: _korsts([*KORSTS, KORSTS_DEV[0]]),
        data.KORSTS_DEV: _korsts(KORSTS_DEV),
        data.QUESTION_PAIRS: "\ufeff" + _csv(questions),
        data.PARAKQC: topics,
        **dict.fromkeys(data.XNLI, xnli),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(content.encode()) if name.endswith(".xz") else content.encode())
    return folder


def _csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _korsts(rows: list[tuple[str, str, float]]) -> str:
    header = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
    return header + "".join(f"news\tx\t2015\t1\t{score}\t{a}\t{b}\n" for a, b, score in rows)
