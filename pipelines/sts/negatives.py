"""Hard negatives: sentences that look alike on paper without being known to mean the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

TOO_ALIKE = 0.85
"""Above this TF-IDF cosine two sentences most likely do mean the same."""
CHUNK = 512


def same_meaning_groups(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group number of each of `count` sentences (count,): those that pairs (pairs, 2) link, however far, share one."""
    links = csr_matrix((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def hard_negatives(sentences: Sequence[str], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices (sentences, count) of each sentence's nearest ones outside its group; -1 fills what is missing."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), dtype=np.float32).fit_transform(sentences)
    transposed = csr_matrix(vectors.T)
    found = np.full((len(sentences), count), -1, dtype=np.int64)
    for start in tqdm(range(0, len(sentences), CHUNK), desc="hard negatives"):
        cosines = csr_matrix(vectors[start : start + CHUNK] @ transposed)
        for row in range(cosines.shape[0]):
            begin, end = cosines.indptr[row], cosines.indptr[row + 1]
            index = start + row
            nearest = _nearest(cosines.indices[begin:end], cosines.data[begin:end], groups, groups[index], count)
            found[index, : len(nearest)] = nearest
    return found


def _nearest(
    candidates: NDArray[np.int32], cosines: NDArray[np.float32], groups: NDArray[np.int64], own: int, count: int
) -> NDArray[np.int32]:
    """The `count` candidates of highest cosine that are neither too alike nor of the group `own`, best first."""
    allowed = (cosines <= TOO_ALIKE) & (groups[candidates] != own)
    candidates, cosines = candidates[allowed], cosines[allowed]
    if len(candidates) > count:
        kept = np.argpartition(-cosines, count)[:count]
        candidates, cosines = candidates[kept], cosines[kept]
    return candidates[np.argsort(-cosines, kind="stable")]
