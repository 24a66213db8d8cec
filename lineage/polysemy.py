"""Measures whether a system's vectors of a word tell its two senses apart.

    python -m lineage.polysemy --input_file=text.txt --output_dir=bert_senses \
        --senses_file=configs/lineage/senses.yml --init_checkpoint=bert

Without --init_checkpoint it measures a bag of the words around, which every system that
reads context must beat. measures.csv has a row for each word, form of the sentences and
layer; points.csv has where the first two principal components put each occurrence;
counts.csv has how often which sense was found.

Forms: "written", and "hidden", in which the words by which the senses were told are
replaced by "something". What falls to chance there had only seen those words.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import startup

import numpy as np
from absl import flags

from errors import UserError
from inference.pretrained import Pretrained
from lineage import senses, separation, tables
from lineage.senses import Occurrence
from lineage.tables import Row

FLAGS = flags.FLAGS
FORMS = "written", "hidden"


def contextual_vectors(
    model: Pretrained, sentences: Sequence[Sequence[str]], places: Sequence[int]
) -> np.ndarray:
    """Returns the vector of one word of each sentence, in all layers.

    Args:
      model: what gives vectors of words.
      sentences: of words.
      places: of the word in each of them.

    Returns:
      float32 [layers, sentences, width].
    """
    depth = model.system.need("extracts").depth
    rows = model.encode_words(
        sentences, layers=range(depth), layer_combination="separate"
    )
    found = [row[place] for row, place in zip(rows, places, strict=True)]
    return np.stack(found, axis=1)


def first_layer(model: Pretrained | None) -> int:
    """The number of the first layer: 0 is what a word is without its sentence."""
    return int(model is not None and model.system.need("extracts").units == "pieces")


def words_around(
    sentences: Sequence[Sequence[str]], places: Sequence[int]
) -> np.ndarray:
    """Returns tf-idf of the words around one word of each sentence.

    As of one layer: float64 [1, sentences, words].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    around = [
        [*words[:place], *words[place + 1 :]]
        for words, place in zip(sentences, places, strict=True)
    ]
    return TfidfVectorizer(analyzer=list).fit_transform(around).toarray()[None]


def measure(
    drawn: Mapping[str, Sequence[Occurrence]], model: Pretrained | None, seed: int
) -> tuple[list[Row], list[Row]]:
    """Measures every word in both forms and all layers.

    Args:
      drawn: by their words, see senses.balanced.
      model: None: the bag of the words around.
      seed: of the shuffled senses.

    Returns:
      The rows of measures.csv and of points.csv; a bag has no points.
    """
    measures, points = [], []
    first = first_layer(model)
    for word, found in drawn.items():
        places = [one.place for one in found]
        for form in FORMS:
            sentences = [
                one.words if form == "written" else one.hidden for one in found
            ]
            if model:
                layers = contextual_vectors(model, sentences, places)
            else:
                layers = words_around(sentences, places)
            for layer, vectors in enumerate(layers, first):
                key = {"word": word, "form": form, "layer": layer}
                measures.append(key | _measures(vectors, found, seed))
                if model:
                    points += (key | row for row in _points(vectors, found))
    return measures, points


def _measures(vectors, found, seed):
    labels = [one.sense for one in found]
    documents = [one.document for one in found]
    made = separation.measure(vectors, labels, documents, seed)
    return {"occurrences": len(found)} | dataclasses.asdict(made)


def _points(vectors, found) -> Iterator[Row]:
    for one, (x, y) in zip(found, separation.plane(vectors), strict=True):
        yield {"sense": one.sense, "x": x, "y": y}


def counts(
    occurrences: Sequence[Occurrence],
    rules: Sequence[senses.Rule],
    drawn: Mapping[str, Sequence[Occurrence]],
) -> list[Row]:
    """Returns the rows of counts.csv: what was found, and what is measured of it."""
    found = collections.Counter((one.word, one.sense) for one in occurrences)
    used = collections.Counter(
        (one.word, one.sense) for part in drawn.values() for one in part
    )
    return [
        {
            "word": rule.word,
            "sense": sense,
            "found": found[rule.word, sense],
            "measured": used[rule.word, sense],
        }
        for rule in rules
        for sense in rule.cues
    ]


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_list("input_file", None, "A sentence a line, blank between documents.")
    flags.DEFINE_string("senses_file", None, "The rules that tell senses.")
    flags.DEFINE_string("init_checkpoint", None, "A model, or word vectors.")
    flags.DEFINE_string("output_dir", None, "Where the tables are put.")
    flags.DEFINE_integer("fewest", 10, "Of either sense that a word needs.", 2)
    flags.DEFINE_integer("most", 50, "Occurrences of each sense that are measured.", 2)
    flags.DEFINE_integer("seed", 1, "Of what is drawn.")


def main(_) -> None:
    """Finds, draws, measures, writes."""
    folder = pathlib.Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rules = senses.read_rules(FLAGS.senses_file)
    occurrences = senses.find(senses.read_documents(FLAGS.input_file), rules)
    drawn = senses.balanced(occurrences, FLAGS.fewest, FLAGS.most, FLAGS.seed)
    model = Pretrained(FLAGS.init_checkpoint) if FLAGS.init_checkpoint else None
    if not drawn:
        raise UserError(
            f"--input_file={','.join(FLAGS.input_file)}: no word of "
            f"{FLAGS.senses_file} has --fewest={FLAGS.fewest} of both senses"
        )
    measures, points = measure(drawn, model, FLAGS.seed)
    tables.write(folder / "counts.csv", counts(occurrences, rules, drawn))
    if points:
        tables.write(folder / "points.csv", points)
    tables.write(folder / "measures.csv", measures)
    print(f"words = {len(drawn)}")


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["input_file", "senses_file", "output_dir"])
