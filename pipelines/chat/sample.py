"""The persona that comes with the project, and the questions that its retrieval is measured by."""

from pathlib import Path

PERSONA = Path(__file__).with_name("persona")
"""Its documents: Korean, about nobody there is."""
QUESTIONS = Path(__file__).with_name("questions.jsonl")
"""Forty, each with the fact that answers it."""
SAMPLE_STORE = "vector_store"
"""The name that clients of the service before this one say."""
