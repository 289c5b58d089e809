"""Sentence similarity (STS): data, metrics, models, pipelines, and the training and tuning commands."""
