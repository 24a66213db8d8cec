"""Bag of words: what a classifier reaches that knows no language before its labels.

Words and pairs of neighbouring words, weighted by tf-idf, under a logistic regression.
scikit-learn is imported on first use, as in `classification`.
"""

from collections.abc import Sequence

import numpy as np

# How little the weights are held back. One value for all data sets: on SST-2 the
# accuracy is between 80.5 and 82.8 % for values from 1 to 100.
_INVERSE_REGULARIZATION = 3
_MAX_ITERATIONS = 1000


def predict(
    train_texts: Sequence[str], train_labels: Sequence[int], texts: Sequence[str]
) -> np.ndarray:
    """Learns from labelled texts, and labels others.

    Args:
      train_texts: what to learn from; a word or pair counts if two of them have it.
      train_labels: class ids, one for each of `train_texts`.
      texts: N texts to label.

    Returns:
      int [N], class ids.

    Raises:
      ValueError: scikit-learn's, where all texts have one label, or no two of them
        have a word in common.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    regression = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=_MAX_ITERATIONS)
    model = make_pipeline(vectors, regression)
    return model.fit(train_texts, train_labels).predict(texts)
