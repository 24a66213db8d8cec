r"""Learns word vectors from text: word2vec, GloVe, or a factorised matrix of counts.

python run_word_vectors.py --model_type=word2vec --train_file='text/*.txt.gz' \
    --output_dir=vectors --cbow=0 --size=100 --window=5 --negative=5 --sample=1e-3

The flags are those of the original programs, and may be written as there: -size 100.
"""

import os
import time
from collections.abc import Iterator

import startup

from absl import flags

import registry
import word_rules

FLAGS = flags.FLAGS
# By --binary: the ending of a file's name, and what word_vectors.write calls it.
FORMATS = (("txt", "word2vec"), ("bin", "word2vec_binary"))

flags.DEFINE_enum(
    "model_type", "word2vec", list(registry.VECTOR_LEARNERS), "What is learnt."
)
flags.DEFINE_list(
    "train_file",
    None,
    "The text: names and globs, by commas; .gz is unpacked. Lines are sentences.",
)
flags.DEFINE_alias("input_file", "train_file")
flags.DEFINE_alias("train", "train_file")
flags.DEFINE_string("output_dir", None, "Where vectors, vocabulary and state go.")
flags.DEFINE_enum(
    "tokenizer",
    "whitespace",
    word_rules.TOKENIZERS,
    "What finds words: white space, as in the originals, or spaCy's rules for English.",
)
flags.DEFINE_enum(
    "segmenter",
    None,
    word_rules.SEGMENTERS,
    "Finds the words of Chinese first, or takes its characters for words.",
)
flags.DEFINE_bool("do_lower_case", False, "Whether to lower-case the text.")
flags.DEFINE_string(
    "read_vocab",
    None,
    "A file of `word count` lines: the vocabulary, not counted anew; by GloVe and SVD "
    "taken as it is.",
)
flags.DEFINE_string("save_vocab", None, "Where the vocabulary is written, too.")
flags.DEFINE_integer("binary", 0, "1 for word2vec's binary file of vectors.", 0, 1)
flags.DEFINE_integer("seed", 0, "Of initial vectors and of all that is drawn.", 0)
flags.DEFINE_integer(
    "threads",
    None,
    "Default: all cores. The vectors are the same for any number, without --hogwild.",
    1,
)
flags.DEFINE_integer("num_workers", None, "Processes for slow tokenizers.", 1)
flags.DEFINE_float(
    "save_checkpoints_secs", 600.0, "Seconds between two checkpoints.", 0.0
)

# Of the models; one that is not given has the model's own default.
flags.DEFINE_integer("vector_size", None, "Values of a vector.", 1)
flags.DEFINE_alias("size", "vector_size")
flags.DEFINE_integer("min_count", None, "Occurrences that a word needs.", 1)
flags.DEFINE_integer("max_vocab", None, "The most words; default: no limit.", 2)
flags.DEFINE_integer("window", None, "The most words on each side.", 1)
flags.DEFINE_integer("iter", None, "How often the text is gone through.", 1)
flags.DEFINE_float(
    "alpha",
    None,
    "word2vec: the first learning rate. GloVe: the exponent of small counts' weights.",
    0.0,
)
flags.DEFINE_integer("negative", None, "Words of the noise a true word; 0: none.", 0)
flags.DEFINE_integer("hs", None, "1 for hierarchical softmax.", 0, 1)
flags.DEFINE_integer("cbow", None, "1, or 0 for skip-gram.", 0, 1)
flags.DEFINE_float("sample", None, "The share above which words are left out.", 0.0)
flags.DEFINE_enum(
    "vectors",
    None,
    ("input", "output", "sum", "both"),
    "Which of word2vec's tables is written.",
)
flags.DEFINE_bool("exact", None, "Replays the original program, of one thread.")
flags.DEFINE_bool(
    "hogwild",
    None,
    "word2vec: threads change the same vectors at once, to other bytes each time.",
)
flags.DEFINE_string(
    "init_vectors",
    None,
    "word2vec and GloVe begin with these vectors, of any of our formats.",
)
flags.DEFINE_bool(
    "freeze_known", None, "Whether the vectors of --init_vectors stay as they are."
)
flags.DEFINE_string(
    "cooccurrence_file",
    None,
    "Counts of the original's `cooccur`, or ours, with their --read_vocab: no text.",
)
flags.DEFINE_integer("symmetric", None, "0: only words on the left count.", 0, 1)
flags.DEFINE_integer("distance_weighting", None, "0: far words count 1, too.", 0, 1)
flags.DEFINE_float("memory", None, "Gigabytes to count pairs in, about.", 1e-3)
flags.DEFINE_float("x_max", None, "The count from which on pairs weigh the same.", 0.0)
flags.DEFINE_float("eta", None, "GloVe: the learning rate.", 0.0)
flags.DEFINE_integer(
    "model",
    None,
    "GloVe's vectors: 0: both tables with their biases, 1: the words', 2: the sum of "
    "both, 3: both.",
    0,
    3,
)
flags.DEFINE_enum(
    "engine",
    None,
    ("auto", "tensorflow", "numba"),
    "What computes; by default numba, where it is installed.",
)
flags.DEFINE_enum(
    "distribution_strategy",
    None,
    ("off", "mirrored"),
    "word2vec in TensorFlow: on one device, or on all GPUs of this machine.",
)
flags.DEFINE_enum(
    "weighting",
    None,
    ("ppmi", "raw", "sqrt", "log"),
    "SVD, of: positive mutual information, counts, their square roots, log(1 + count).",
)
flags.DEFINE_float("shift", None, "SVD: k, of mutual information less log k.", 0.0)
flags.DEFINE_float("smoothing", None, "SVD: the power of contexts' counts.", 0.0)
flags.DEFINE_float("p", None, "SVD: the power of singular values.", 0.0)


# What pairs of words depend on.
_COUNTED = ("window", "symmetric", "distance_weighting")


def _kinds():
    return registry.vector_learners()


def make_learner():
    """Returns what learns the vectors of --model_type."""
    kind = _kinds()[FLAGS.model_type]
    values = {name: FLAGS[name].value for name in kind.flags()}
    return kind(**{name: value for name, value in values.items() if value is not None})


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags: together, and with the model's."""
    kinds = _kinds()
    own = set(kinds[FLAGS.model_type].flags())
    for flag in sorted(
        {flag for kind in kinds.values() for flag in kind.flags()} - own
    ):
        if FLAGS[flag].present:
            others = [name for name, kind in kinds.items() if flag in kind.flags()]
            yield (
                f"--{flag}={FLAGS[flag].value} is not for {FLAGS.model_type}, only for "
                + ", ".join(others)
            )
    learner = make_learner()
    yield from learner.problems()
    if FLAGS.read_vocab and not learner.chooses_of_vocabulary:
        yield from _without_effect(("min_count", "max_vocab"), "read_vocab")
    if learner.reads_text and not FLAGS.train_file:
        yield "--train_file is missing"
    if not learner.reads_text:
        if FLAGS.train_file:
            yield "--train_file and --cooccurrence_file: wanted one of them"
        yield from _without_effect(_COUNTED, "cooccurrence_file")
        if not FLAGS.read_vocab:
            yield (
                "--cooccurrence_file without --read_vocab: the vocabulary that it was "
                "counted with says which words its numbers are"
            )


def _without_effect(names, given):
    """Yields what flags are of no effect, where what they shape is in a file."""
    for name in names:
        if FLAGS[name].present:
            yield f"--{name} has no effect with --{given}, which is taken as it is"


def run_config():
    """Reads the flags that are not the model's."""
    from training.word_vectors.learner import RunConfig

    return RunConfig(
        output_dir=FLAGS.output_dir,
        seed=FLAGS.seed,
        threads=FLAGS.threads or len(os.sched_getaffinity(0)),
        save_checkpoints_secs=FLAGS.save_checkpoints_secs,
    )


def check_files(learner) -> list[str]:
    """Refuses flags whose files or folders are not what is wanted.

    Returns:
      The files of the text.
    """
    import paths
    from errors import UserError
    from training import state

    files = paths.find_files(FLAGS.train_file or [], "train_file")
    read = {"train_file": files}
    for flag in ("read_vocab", "cooccurrence_file"):
        given = FLAGS[flag].value
        read[flag] = paths.find_files([given], flag) if given else []
    outputs = "vocab.txt", _vectors_file("vectors"), _vectors_file("output_vectors")
    written = {
        "output_dir": list(map(_in_output, outputs)),
        "save_vocab": [FLAGS.save_vocab],
    }
    paths.check_outputs(written, read | {"init_vectors": [FLAGS.init_vectors]})
    for name in outputs:
        if os.path.exists(_in_output(name)) and not state.is_begun(FLAGS.output_dir):
            raise UserError(
                f"--output_dir={FLAGS.output_dir} holds {name}, which is not of a "
                "training there: give another --output_dir"
            )
    paths.refuse_folders(read | {"save_vocab": [FLAGS.save_vocab]})
    learner.check_files()
    return files


def read_text(learner, files, folder, workers):
    """Returns the text as numbers in a folder, or None, and the vocabulary."""
    from data_pipeline.corpora import word_corpus, word_counts
    from data_pipeline.corpora.word_splitter import WordSplitter

    corpus = None
    if learner.reads_text:
        splitter = WordSplitter(FLAGS.tokenizer, FLAGS.segmenter, FLAGS.do_lower_case)
        corpus = word_corpus.read(files, splitter, folder, workers)
        seen = word_rules.WordsSeen()
        seen.add_counts(zip(corpus.counts.words, corpus.counts.counts, strict=True))
        seen.warn()
    if FLAGS.read_vocab:
        found = word_counts.read(FLAGS.read_vocab)
        return corpus, learner.read_vocabulary(found, corpus)
    return corpus, learner.vocabulary(corpus.counts, corpus.num_lines)


def _vectors_file(name):
    return f"{name}.{FORMATS[FLAGS.binary][0]}"


def _in_output(name):
    return os.path.join(FLAGS.output_dir, name)


def main(_):
    """Reads the text, learns, and writes what was learnt."""
    start = time.perf_counter()
    # Here, so that worker processes, which import this file, start without TensorFlow.
    import atomic_files
    import common_flags
    import folder_lock
    from checkpoints import word_vectors
    from checkpoints.files import write_text
    from training import state

    learner, run = make_learner(), run_config()
    files = check_files(learner)
    with folder_lock.hold(run.output_dir):
        atomic_files.remove_left_behind(run.output_dir)
        with atomic_files.temporary_folder(_in_output("text")) as folder:
            corpus, counts = read_text(
                learner, files, folder, FLAGS.num_workers or run.threads
            )
            settings = learner.settings(corpus, counts, run)
            # Before anything of another training would be overwritten.
            state.check_settings(run.output_dir, settings)
            for path in filter(None, (_in_output("vocab.txt"), FLAGS.save_vocab)):
                write_text(path, counts.text())
            write_text(_in_output("flags.txt"), common_flags.flags_text())
            tables = learner.learn(corpus, counts, run, settings)
        for name, vectors in tables.items():
            path = _in_output(_vectors_file(name))
            word_vectors.write(path, vectors, FORMATS[FLAGS.binary][1])
            write_text(word_rules.beside(path), word_rules.of(FLAGS).to_text())
    if corpus:
        print(f"words = {corpus.num_words}\nlines = {corpus.num_lines}")
    print(f"vocabulary = {len(counts)}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    startup.run(main, check_flags, required=["output_dir"], pipes=["train_file"])
