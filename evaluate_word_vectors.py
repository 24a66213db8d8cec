r"""Tells how good word vectors are, and what is near what in them.

python evaluate_word_vectors.py --vectors=vectors/vectors.txt \
    --similarity_file=wordsim353.tsv,simlex999.txt --analogy_file=questions-words.txt

What is printed are lines `name = value`; --output_dir gets the same as JSON.
"""

import importlib.util
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import startup

from absl import flags

import paths
import pictures
from checkpoints import files, word_vectors
from data_pipeline.readers import word_evaluations
from errors import UserError
from inference import word_maps
from inference.named_vectors import NamedVectors
from metrics import word_vectors as metrics

FLAGS = flags.FLAGS
RESULTS, CLASSES = "eval_results.json", "classes.txt"
_DRAWN = 300

flags.DEFINE_string(
    "vectors", None, "A file, or a folder with one: word2vec's, GloVe's, .npy and more."
)
flags.DEFINE_string(
    "vocab_file", None, "The words, of a format whose file has none; else beside it."
)
flags.DEFINE_list(
    "similarity_file",
    [],
    "Lines of two words and how alike they are, as WordSim-353: names and globs.",
)
flags.DEFINE_list(
    "analogy_file",
    [],
    "Lines of four words under lines `: section`, as questions-words.txt.",
)
flags.DEFINE_integer(
    "restrict_vocab",
    300_000,
    "Files are asked of the first so many words, as gensim asks them; 0: of all.",
    0,
)
flags.DEFINE_bool(
    "case_insensitive", True, "Whether the case of words in these files is no matter."
)
flags.DEFINE_bool(
    "dummy4unknown",
    False,
    "Whether a pair of unknown words counts as of cosine 0, and a question with one as "
    "answered wrongly; else they are left out.",
)
flags.DEFINE_list("nearest", [], "Words whose nearest ones are shown.")
flags.DEFINE_list("analogy", [], "Three words: a is to b as c is to what?")
flags.DEFINE_list("odd_one_out", [], "Words, to find the one that is unlike the rest.")
flags.DEFINE_integer("topn", 10, "How many words --nearest and --analogy show.", 1)
flags.DEFINE_integer(
    "classes", None, f"Sorts all words into so many; {CLASSES} has each one's.", 1
)
flags.DEFINE_string("plot", None, "A picture of words: .png, .pdf or .svg.")
flags.DEFINE_enum("plot_method", "tsne", word_maps.METHODS, "What places the words.")
flags.DEFINE_list("plot_words", [], f"Words to draw; default: the first {_DRAWN}.")
flags.DEFINE_integer("seed", 0, "Of --classes and of t-SNE.", 0)
flags.DEFINE_string("output_dir", None, f"Where {RESULTS} and {CLASSES} go.")


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags together."""
    asked = ("similarity_file", "analogy_file", "nearest", "analogy", "odd_one_out")
    asked += ("classes", "plot")
    if not any(FLAGS[name].value for name in asked):
        yield "nothing is asked: wanted one of --" + ", --".join(asked)
    if len(FLAGS.analogy) not in (0, 3):
        yield f"--analogy={','.join(FLAGS.analogy)}: wanted three words"
    if len(FLAGS.odd_one_out) in (1, 2):
        yield f"--odd_one_out={','.join(FLAGS.odd_one_out)}: wanted three words or more"
    if FLAGS.classes and not FLAGS.output_dir:
        yield "--classes needs --output_dir, where the classes are written"
    if FLAGS.plot and not FLAGS.plot.endswith(pictures.ENDINGS):
        yield f"--plot={FLAGS.plot}: wanted a name in {', '.join(pictures.ENDINGS)}"
    if FLAGS.plot and not importlib.util.find_spec("matplotlib"):
        yield '--plot needs the package matplotlib: pip install "word2bert[plot]"'


def check_outputs() -> None:
    """Raises UserError where a result would be written over what is read."""
    inputs = ("similarity_file", "analogy_file")
    folder = FLAGS.output_dir
    results = [os.path.join(folder, n) for n in (RESULTS, CLASSES)] if folder else []
    paths.check_outputs(
        {"output_dir": results, "plot": [FLAGS.plot]},
        {flag: paths.find_files(FLAGS[flag].value, flag) for flag in inputs}
        | {"vectors": [FLAGS.vectors], "vocab_file": [FLAGS.vocab_file]},
    )


def read_files(flag: str, read) -> dict[str, Any]:
    """Returns what is in a flag's files, by their names without folder and ending."""
    contents = {}
    for path in paths.find_files(FLAGS[flag].value, flag):
        name = os.path.splitext(os.path.basename(path))[0]
        if name in contents:
            raise UserError(f"--{flag}: got two files {name!r}; results go by the name")
        contents[name] = read(path)
    return contents


def places(known: NamedVectors, flag: str) -> list[int]:
    """Returns where the words of a flag are."""
    return [known.place(word) for word in FLAGS[flag].value]


def shown(known: NamedVectors, found: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Returns words with their scores, from their places."""
    return {known.words[place]: score for place, score in found}


def check_words(known: NamedVectors) -> None:
    """Raises UserError for what the flags ask that is not there, all at once."""
    problems = []
    for flag in ("nearest", "analogy", "odd_one_out", "plot_words"):
        unknown = [word for word in FLAGS[flag].value if word not in known]
        problems += (f"--{flag}: {known.unknown(word)}" for word in unknown)
    if (FLAGS.classes or 0) > len(known.words):
        problems.append(
            f"--classes={FLAGS.classes}: wanted at most {len(known.words)} words"
        )
    if problems:
        raise UserError(f"{FLAGS.vectors}: {'; '.join(problems)}")


def score_files(
    known: NamedVectors, pairs: Mapping, questions: Mapping
) -> Iterator[tuple]:
    """Yields what, of which file, and its scores."""
    first = slice(FLAGS.restrict_vocab or None)
    unit = known.unit[first]
    vocabulary = metrics.Vocabulary(known.words[first], FLAGS.case_insensitive)
    for name, (words, scores) in pairs.items():
        found = _find(vocabulary, name, words)
        unknown = FLAGS.dummy4unknown
        yield (
            "similarity",
            name,
            metrics.similarity_scores(unit, found, scores, unknown),
        )
    for name, (words, sections) in questions.items():
        found = _find(vocabulary, name, words)
        scores = metrics.analogy_scores(
            unit, found, sections, vocabulary.first, FLAGS.dummy4unknown
        )
        yield "analogies", name, scores


def _find(vocabulary, name, words):
    found = vocabulary.find(words)
    if not (found >= 0).all(1).any():
        raise UserError(
            f"{FLAGS.vectors}: none of the {len(words)} lines in {name} has words that "
            "all have vectors"
        )
    return found


def look_up(known: NamedVectors) -> Iterator[tuple]:
    """Yields what is asked of words, these words, and the answer."""
    for word in FLAGS.nearest:
        yield "nearest", word, dict(known.nearest(word, FLAGS.topn))
    if FLAGS.analogy:
        found = metrics.analogy(known.unit, *places(known, "analogy"), FLAGS.topn)
        answers = {name: shown(known, some) for name, some in found.items()}
        yield "analogy", ",".join(FLAGS.analogy), answers
    if FLAGS.odd_one_out:
        odd = metrics.odd_one_out(known.unit, places(known, "odd_one_out"))
        yield "odd_one_out", ",".join(FLAGS.odd_one_out), known.words[odd]


def write_maps(known: NamedVectors) -> None:
    """Writes the words' classes, and draws words."""
    if FLAGS.classes:
        found = word_maps.classes(known.unit, FLAGS.classes, FLAGS.seed)
        lines = (f"{word} {i}\n" for word, i in zip(known.words, found, strict=True))
        path = os.path.join(FLAGS.output_dir, CLASSES)
        files.write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"))
    if FLAGS.plot:
        drawn = places(known, "plot_words") or range(min(_DRAWN, len(known.words)))
        words = [known.words[place] for place in drawn]
        unit = known.unit[drawn]
        word_maps.draw(FLAGS.plot, words, unit, FLAGS.plot_method, FLAGS.seed)


def show(name: str, result: Any) -> None:
    """Prints `name = value` lines; what is inside stands behind a slash."""
    if isinstance(result, float):
        print(f"{name} = {result:.4f}")
    elif not isinstance(result, dict):
        print(f"{name} = {result}")
    elif "accuracy" in result:
        counts = f"({result['correct']} of {result['questions']})"
        print(f"{name} = {result['accuracy']:.4f} {counts}")
    else:
        for key, inner in result.items():
            show(f"{name}/{key}", inner)


def main(_):
    """Reads, answers, prints, writes."""
    check_outputs()
    pairs = read_files("similarity_file", word_evaluations.read_pairs)
    questions = read_files("analogy_file", word_evaluations.read_questions)
    known = NamedVectors(*word_vectors.read(FLAGS.vectors, FLAGS.vocab_file))
    check_words(known)
    results = {"words": len(known.words), "dimension": known.unit.shape[1]}
    for name, value in results.items():
        show(name, value)
    for kind, name, result in itertools.chain(
        score_files(known, pairs, questions), look_up(known)
    ):
        results.setdefault(kind, {})[name] = result
        show(f"{kind}/{name}", result)
    write_maps(known)
    if FLAGS.output_dir:
        text = json.dumps(results, indent=2) + "\n"
        files.write_text(os.path.join(FLAGS.output_dir, RESULTS), text)


if __name__ == "__main__":
    startup.run(main, check_flags, required=["vectors"])
