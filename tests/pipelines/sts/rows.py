"""Hand-made STS files for tests, with a few rows each."""

import csv
import io
import json
import lzma
from pathlib import Path

from pipelines.sts import data

KORSTS_TRAIN = "korsts/sts-train.tsv"
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


def write_all(folder: Path) -> Path:
    """Write all files, and return the data folder."""
    dev = [{"sentence1": a, "sentence2": b, "labels": {"real-label": score}} for a, b, score in KLUE_DEV]
    klue = [{"sentence1": a, "sentence2": b, "label": score} for a, b, score in KLUE_TRAIN]
    files = {
        data.KLUE_TRAIN: _csv(klue),
        data.KLUE_DEV: json.dumps(dev),
        KORSTS_TRAIN: korsts_file(KORSTS),
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


def korsts_file(rows: list[tuple[str, str, float]]) -> str:
    """The content of a KorSTS file."""
    header = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
    return header + "".join(f"news\tx\t2015\t1\t{score}\t{a}\t{b}\n" for a, b, score in rows)
