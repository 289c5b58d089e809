"""The persona that comes with the project, and the questions that its retrieval is measured by."""

from pathlib import Path

from pipelines.chat.build import Encodes, build
from pipelines.chat.documents import read_documents

SAMPLE_STORE = "vector_store"
PERSONA = Path(__file__).with_name("persona")
QUESTIONS = Path(__file__).with_name("questions.jsonl")


def build_sample(root: Path, embedder: Encodes) -> int:
    """Build the sample store below `root`, if it is not there or not of these documents and this checkpoint."""
    return build(read_documents(PERSONA), root / SAMPLE_STORE, embedder)
