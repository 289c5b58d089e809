"""What CoLA scores without learning word order: logistic regression on words, pairs and triples of words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pipelines.cola.data import Judgement


def ngram_probabilities(train: Sequence[Judgement], sentences: Sequence[str]) -> NDArray[np.float64]:
    """Probability (sentences,) of being acceptable, after regression on word 1- to 3-grams of `train`."""
    features = TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"\S+", sublinear_tf=True)
    model = make_pipeline(features, LogisticRegression(C=10, max_iter=2000, class_weight="balanced"))
    model.fit([row.sentence for row in train], [row.acceptable for row in train])
    return np.asarray(model.predict_proba(list(sentences))[:, 1])
