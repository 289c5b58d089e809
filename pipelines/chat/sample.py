"""The sample persona of the project, and the questions that measure how well a search finds its facts."""

from pathlib import Path

PERSONA = Path(__file__).with_name("persona")
"""A folder of Korean documents about an invented person."""
QUESTIONS = Path(__file__).with_name("questions.jsonl")
"""JSON Lines: 40 questions, each with the fact that answers it."""
SAMPLE_STORE = "vector_store"
"""The name of the sample's store. Existing clients send it as `db_path`."""
