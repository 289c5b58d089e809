"""Extractive question answering (QA): data, metrics, windows, the model, the pipeline and the training command."""
