"""Pairs a second of GloVe's training, on each engine and beside the original program.

    python run_word_vectors.py --model_type=glove --iter=1 --output_dir=counted ...
    python benchmarks/bench_glove.py --cooccurrence_file=counted/cooccurrences.bin \
        --read_vocab=counted/vocab.txt --original=GloVe/build/glove

All train on the same pairs, by turns, so that a busy machine slows all of them; medians
are compared. Of the original, what its start and its end take is left out: two runs are
timed, one of an iteration and one of two. One JSON line a variant; `ratio` is to the
original, or without it, to the first variant.
"""

import functools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import startup

import tensorflow as tf
from absl import flags

from data_pipeline.corpora import cooccurrences, word_counts
from training.word_vectors import glove
from training.word_vectors.learner import RunConfig

FLAGS = flags.FLAGS
flags.DEFINE_string("cooccurrence_file", None, "Pairs, of run_word_vectors.py.")
flags.DEFINE_string("read_vocab", None, "Their vocabulary.")
flags.DEFINE_string("original", None, "The original's program `glove`, compiled.")
flags.DEFINE_integer("pairs", 4_000_000, "The most pairs that are used.", 1)
flags.DEFINE_integer("vector_size", 100, "Values of a vector.", 1)
flags.DEFINE_multi_string(
    "variant", ["numba x 1", "numba x 2", "tensorflow x 1"], "Engine x threads."
)
flags.DEFINE_integer("runs", 5, "Timed runs of each variant.", 1)


def ours(path: str, vocab_size: int, variant: str) -> Callable[[], float]:
    """Returns a function that trains an iteration and returns the seconds it took."""
    engine, threads = variant.split(" x ")
    learner = glove.Glove(
        vector_size=FLAGS.vector_size, x_max=10.0, engine=engine, iter=1
    )
    run = RunConfig("", threads=int(threads))
    training = glove.Training(learner, path, vocab_size, run)

    def iteration():
        start = time.perf_counter()
        for _ in training.steps(0):
            pass
        return time.perf_counter() - start

    iteration()  # compiles
    return iteration


def original(path: str, folder: str, threads: int) -> float:
    """Returns the seconds of an iteration of the original program."""
    seconds = []
    for iterations in (1, 2):
        command = {
            "input-file": path,
            "vocab-file": FLAGS.read_vocab,
            "save-file": os.path.join(folder, "vectors"),
            "vector-size": FLAGS.vector_size,
            "threads": threads,
            "iter": iterations,
            "x-max": 10,
            "seed": 1,
            "verbose": 0,
        }
        words = [
            word for flag, value in command.items() for word in (f"-{flag}", value)
        ]
        start = time.perf_counter()
        subprocess.run(
            [FLAGS.original, *map(str, words)], check=True, capture_output=True
        )
        seconds.append(time.perf_counter() - start)
    return seconds[1] - seconds[0]


def main(_):
    """Times all variants by turns."""
    vocab_size = len(word_counts.read(FLAGS.read_vocab))
    size = min(cooccurrences.check(FLAGS.cooccurrence_file, vocab_size), FLAGS.pairs)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shuffled, path = (os.path.join(folder, name) for name in ("all", "some"))
        cooccurrences.shuffle(FLAGS.cooccurrence_file, shuffled, seed=1)
        cooccurrences.read_part(shuffled, 0, size).tofile(path)
        os.remove(shuffled)
        timed = {}
        if FLAGS.original:
            for threads in (1, 2):
                timed[f"original x {threads}"] = functools.partial(
                    original, path, folder, threads
                )
        timed |= {name: ours(path, vocab_size, name) for name in FLAGS.variant}
        seconds = {name: [] for name in timed}
        for _ in range(FLAGS.runs):
            for name, iteration in timed.items():
                seconds[name].append(iteration())
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    base = next(iter(medians.values()))
    for name, median in medians.items():
        threads = name.split(" x ")[1]
        beside = medians.get(f"original x {threads}", base)
        row = {
            "variant": name,
            "pairs_per_second": round(size / median),
            "ratio": round(beside / median, 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    startup.run(main, required=["cooccurrence_file", "read_vocab"])
