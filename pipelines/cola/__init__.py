"""Grammatical acceptability (CoLA): data, metrics, the classifier, the pipeline and the training command."""
