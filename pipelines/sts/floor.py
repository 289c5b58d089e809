"""What STS scores without learning: cosine of character n-gram TF-IDF vectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from pipelines.sts.data import ScoredPair


def tfidf_cosines(fit_on: Sequence[str], pairs: Sequence[ScoredPair]) -> NDArray[np.float64]:
    """Cosines (pairs,) of TF-IDF vectors over characters and pairs of them within words; weights come from `fit_on`."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2), sublinear_tf=True).fit(fit_on)
    left = vectorizer.transform([pair.sentence1 for pair in pairs])
    right = vectorizer.transform([pair.sentence2 for pair in pairs])
    return np.asarray(left.multiply(right).sum(axis=1)).ravel()
