"""Words a second of word2vec's training, on each engine and beside gensim.

    python benchmarks/bench_word2vec.py --train_file=text.txt \
        --peer_python=peers-venv/bin/python

All train on the same text by turns, so that a busy machine slows all of them; medians
are compared. Counting the words is not timed, nor compiling. One JSON line a variant;
`ratio` is to gensim on as many threads, or without it, to the first variant. TensorFlow
keeps the threads that it began with: with --engine=tensorflow, one --threads a run.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import startup

from absl import flags

from data_pipeline.corpora import word_corpus, word_splitter
from training.word_vectors import word2vec
from training.word_vectors.learner import RunConfig

FLAGS = flags.FLAGS
flags.DEFINE_string("train_file", None, "A text, not packed.")
flags.DEFINE_string("peer_python", None, "The Python that has gensim; none: alone.")
flags.DEFINE_multi_enum(
    "method",
    ["sg-ns", "cbow-ns", "cbow-hs", "sg-hs"],
    ["sg-ns", "cbow-ns", "cbow-hs", "sg-hs"],
    "What is learnt: 5 words of the noise, or the Huffman tree.",
)
flags.DEFINE_multi_enum("engine", ["numba"], ["numba", "tensorflow"], "What computes.")
flags.DEFINE_multi_integer("threads", [1, 2], "Threads of each variant.", 1)
flags.DEFINE_bool("hogwild", False, "Whether numba's threads race.")
flags.DEFINE_integer("runs", 3, "Timed runs of each variant.", 1)

_PEER = os.path.join(os.path.dirname(__file__), "peers", "gensim_word2vec.py")


def ours(
    corpus: word_corpus.WordCorpus, method: str, engine: str, threads: int
) -> Callable[[], float]:
    """Returns a function that reads the text once; it returns words a second."""
    kind, loss = method.split("-")
    learner = word2vec.Word2vec(
        cbow=int(kind == "cbow"),
        hs=int(loss == "hs"),
        negative=5 * (loss == "ns"),
        engine=engine,
        hogwild=FLAGS.hogwild and engine == "numba",
        iter=1,
    )
    counts = learner.vocabulary(corpus.counts, corpus.num_lines)
    training = learner.training(corpus, counts, RunConfig("", threads=threads))
    training.initialize()
    next(training.steps(0))  # compiles

    def read():
        training.initialize()
        start = time.perf_counter()
        for _ in training.steps(0):
            pass
        return corpus.num_words / (time.perf_counter() - start)

    return read


def gensims(method: str, threads: int) -> float:
    """Returns gensim's words a second."""
    command = [FLAGS.peer_python, _PEER, FLAGS.train_file, method, str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    found = json.loads(done.stdout)
    return found["words"] / found["seconds"]


def main(_):
    """Times the variants of each method by turns."""
    with tempfile.TemporaryDirectory() as folder:
        splitter = word_splitter.WordSplitter()
        corpus = word_corpus.read([FLAGS.train_file], splitter, folder)
        for method in FLAGS.method:
            for threads in FLAGS.threads:
                timed = {}
                if FLAGS.peer_python:
                    timed["gensim"] = functools.partial(gensims, method, threads)
                for engine in FLAGS.engine:
                    timed[engine] = ours(corpus, method, engine, threads)
                speeds = {name: [] for name in timed}
                for _ in range(FLAGS.runs):
                    for name, read in timed.items():
                        speeds[name].append(read())
                base = statistics.median(next(iter(speeds.values())))
                for name, found in speeds.items():
                    median = statistics.median(found)
                    row = {
                        "method": method,
                        "threads": threads,
                        "variant": name,
                        "words_per_second": round(median),
                        "ratio": round(median / base, 2),
                    }
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    startup.run(main, required=["train_file"])
