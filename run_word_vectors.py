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

FLAGS = flags.FLAGS

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
    ("whitespace", "english"),
    "What finds words: white space, as in the originals, or spaCy's rules for English.",
)
flags.DEFINE_enum("segmenter", None, ("jieba",), "Finds the words of Chinese first.")
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
    "init_vectors", None, "word2vec begins with these vectors, of any of our formats."
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
    "weighting",
    None,
    ("ppmi", "raw", "sqrt", "log"),
    "SVD, of: positive mutual information, counts, their square roots, log(1 + count).",
)
flags.DEFINE_float("shift", None, "SVD: k, of mutual information less log k.", 0.0)
flags.DEFINE_float("smoothing", None, "SVD: the power of contexts' counts.", 0.0)
flags.DEFINE_float("p", None, "SVD: the power of singular values.", 0.0)


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
    if learner.reads_text and not FLAGS.train_file:
        yield "--train_file is missing"
    if not learner.reads_text:
        if FLAGS.train_file:
            yield "--train_file and --cooccurrence_file: wanted one of them"
        if not FLAGS.read_vocab:
            yield (
                "--cooccurrence_file without --read_vocab: the vocabulary that it was "
                "counted with says which words its numbers are"
            )


def run_config():
    """Reads the flags that are not the model's."""
    import common_flags
    from training.word_vectors.learner import RunConfig

    return RunConfig(
        output_dir=FLAGS.output_dir,
        seed=FLAGS.seed,
        threads=FLAGS.threads or len(os.sched_getaffinity(0)),
        save_checkpoints_secs=FLAGS.save_checkpoints_secs,
        flags=common_flags.flags_text(),
    )


def main(_):
    """Reads the text, learns, and writes what was learnt."""
    start = time.perf_counter()
    # Here, so that worker processes, which import this file, start without TensorFlow.
    import atomic_files
    import folder_lock
    import paths
    from checkpoints import word_vectors
    from checkpoints.files import write_text
    from data_pipeline.corpora import word_corpus, word_counts
    from training import state

    learner, run = make_learner(), run_config()
    files = paths.find_files(FLAGS.train_file or [], "train_file")
    inputs = {
        "train_file": files,
        "read_vocab": [FLAGS.read_vocab],
        "cooccurrence_file": [FLAGS.cooccurrence_file],
        "init_vectors": [FLAGS.init_vectors],
    }
    vocab_file = os.path.join(FLAGS.output_dir, "vocab.txt")
    paths.check_outputs(
        {"output_dir": [vocab_file], "save_vocab": [FLAGS.save_vocab]}, inputs
    )
    paths.refuse_folders(
        {
            "train_file": files,
            "save_vocab": [FLAGS.save_vocab],
            **{name: inputs[name] for name in ("read_vocab", "cooccurrence_file")},
        }
    )
    learner.check_files()
    splitter = word_corpus.WordSplitter(
        FLAGS.tokenizer, FLAGS.segmenter, FLAGS.do_lower_case
    )
    with folder_lock.hold(FLAGS.output_dir):
        atomic_files.remove_left_behind(FLAGS.output_dir)
        text = os.path.join(FLAGS.output_dir, "text")
        with atomic_files.temporary_folder(text) as folder:
            workers = FLAGS.num_workers or run.threads
            corpus = None
            if learner.reads_text:
                corpus = word_corpus.read(files, splitter, folder, workers)
            if FLAGS.read_vocab:
                found = word_counts.read(FLAGS.read_vocab)
                counts = learner.read_vocabulary(found, corpus)
            else:
                counts = learner.vocabulary(corpus.counts, corpus.num_lines)
            # Before the vocabulary of another training would be overwritten.
            settings = learner.settings(corpus, counts, run)
            state.check_settings(FLAGS.output_dir, settings)
            for path in filter(None, (vocab_file, FLAGS.save_vocab)):
                write_text(path, counts.text())
            tables = learner.learn(corpus, counts, run)
        ending, form = (
            ("bin", "word2vec_binary") if FLAGS.binary else ("txt", "word2vec")
        )
        for name, vectors in tables.items():
            path = os.path.join(FLAGS.output_dir, f"{name}.{ending}")
            word_vectors.write(path, vectors, form)
    if corpus:
        print(f"words = {corpus.num_words}")
        print(f"lines = {corpus.num_lines}")
    print(f"vocabulary = {len(counts)}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    startup.run(main, check_flags, required=["output_dir"], pipes=["train_file"])
