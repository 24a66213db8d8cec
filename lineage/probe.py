"""Scores frozen vectors: one and the same head for all systems.

    python -m lineage.probe --vectors=vectors.npy --data=bbc_0,bbc_1 --output_dir=out

Classes and tags are told from vectors by a logistic regression on standardised values,
whose regularisation is chosen by cross-validation on the labels that it learns from.
Similarity is the cosine. out/0/predictions.tsv is of the first folder of lineage.data,
in the columns of the project's tables of predictions.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence

import startup

import numpy as np
from absl import flags

from reports.results import shown, write_table

FLAGS = flags.FLAGS
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse: small holds weights back
_FOLDS = 5
_ITERATIONS = 300
Columns = Mapping[str, Sequence[str]]


def head(features: np.ndarray, labels: Sequence[str], folds: int = _FOLDS):
    """Learns the logistic regression.

    Args:
      features: float [N, width], or a sparse matrix.
      labels: N names.
      folds: of the cross-validation; fewer where a class has fewer examples.

    Returns:
      scikit-learn's model.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smallest = int(np.unique(labels, return_counts=True)[1].min())
    centred = isinstance(features, np.ndarray)
    model = make_pipeline(
        StandardScaler(with_mean=centred, with_std=centred),
        LogisticRegression(max_iter=_ITERATIONS),
    )
    scale = 1 if centred else 1000  # rows of tf-idf have length 1, not that of width
    grid = {"logisticregression__C": [scale * c for c in _STRENGTHS]}
    splits = StratifiedKFold(max(2, min(folds, smallest)), shuffle=True, random_state=0)
    return GridSearchCV(model, grid, cv=splits).fit(features, labels)


def _classes(vectors: np.ndarray, folder: pathlib.Path, rows: Mapping) -> Columns:
    labels = _labels(folder / "train.tsv"), _labels(folder / "test.tsv")
    model = head(vectors[rows["train"]], labels[0])
    return _class_columns(model, vectors[rows["test"]], labels[1])


def _class_columns(model, features, gold) -> Columns:
    found = model.predict_proba(features)
    names = list(model.classes_)
    return {
        "id": [f"test-{i}" for i in range(len(gold))],
        "gold": gold,
        "predicted": [names[i] for i in found.argmax(axis=1)],
        **{
            f"probability:{name}": list(map(shown, column))
            for name, column in zip(names, found.T, strict=True)
        },
    }


def _labels(path: pathlib.Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines]


def _words(folder: pathlib.Path) -> Columns:
    """A bag of words instead of vectors: tf-idf of words and pairs of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    sides = [_texts(folder / name) for name in ("train.tsv", "test.tsv")]
    weigh = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    features = weigh.fit_transform(sides[0])
    model = head(features, _labels(folder / "train.tsv"))
    tested = weigh.transform(sides[1])
    return _class_columns(model, tested, _labels(folder / "test.tsv"))


def _texts(path: pathlib.Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


def _tags(vectors: np.ndarray, folder: pathlib.Path, rows: Mapping) -> Columns:
    """Each word's tag from its vector alone; entities as those tags have them."""
    tags = rows["tags"]
    ends = np.cumsum([0, *map(len, tags)])
    places = {
        name: np.concatenate([np.arange(ends[i], ends[i + 1]) for i in rows[name]])
        for name in ("train", "test")
    }
    flat = np.array([tag for sentence in tags for tag in sentence])
    model = head(vectors[places["train"]], flat[places["train"]], folds=2)
    sentences = np.repeat(np.arange(len(rows["test"])) + 1, _lengths(tags, rows))
    text = (folder / "sentences.txt").read_text(encoding="utf-8").split()
    return {
        "sentence": list(map(str, sentences)),
        "line": [str(i + 1) for i in range(len(sentences))],
        "word": [text[i] for i in places["test"]],
        "gold_tag": list(flat[places["test"]]),
        "predicted_tag": list(model.predict(vectors[places["test"]])),
    }


def _lengths(tags, rows):
    return [len(tags[i]) for i in rows["test"]]


def _text_pairs(vectors: np.ndarray, folder: pathlib.Path) -> Columns:
    gold = json.loads((folder / "scores.json").read_text())
    return _score_columns(gold, vectors[: len(gold)], vectors[len(gold) :])


def _word_pairs(vectors: np.ndarray, folder: pathlib.Path) -> Columns:
    """Each word by the mean of its occurrences' vectors."""
    found = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    lines = (folder / "sentences.txt").read_text(encoding="utf-8").splitlines()
    starts = np.cumsum([0, *(len(line.split()) for line in lines)])
    means = {
        word: vectors[[starts[line] + place for line, place in places]].mean(axis=0)
        for word, places in found["places"].items()
    }
    sides = (np.stack([means[pair[i]] for pair in found["pairs"]]) for i in (0, 1))
    return _score_columns([pair[2] for pair in found["pairs"]], *sides)


def _score_columns(gold, first, second) -> Columns:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return {
        "id": [f"pair-{i}" for i in range(len(gold))],
        "gold_score": list(map(shown, gold)),
        "predicted_score": list(map(shown, cosines)),
    }


def columns(folder: pathlib.Path, vectors: np.ndarray | None) -> Columns:
    """The table of predictions of one task.

    Args:
      folder: what lineage.data wrote.
      vectors: of the lines of its texts.txt, or of the words of its sentences.txt;
        None: a bag of words.
    """
    if (folder / "words.json").exists():
        return _word_pairs(vectors, folder)
    if (folder / "scores.json").exists():
        return _text_pairs(vectors, folder)
    rows = json.loads((folder / "rows.json").read_text())
    if vectors is None:
        return _words(folder)
    return (_tags if "tags" in rows else _classes)(vectors, folder, rows)


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_string("vectors", None, "A .npy file; without it: a bag of words.")
    flags.DEFINE_list("data", [], "Folders of one task, by lineage.data.")
    flags.DEFINE_string("output_dir", None, "Where tables go.")


def main(_) -> None:
    """Writes a table for each folder."""
    vectors = np.load(FLAGS.vectors) if FLAGS.vectors else None
    for number, folder in enumerate(FLAGS.data):
        path = pathlib.Path(FLAGS.output_dir, str(number), "predictions.tsv")
        write_table(str(path), columns(pathlib.Path(folder), vectors))


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["data", "output_dir"])
