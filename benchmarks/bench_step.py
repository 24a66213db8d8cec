"""Seconds a step, training and inference, beside Hugging Face's on the same machine.

A step is what a run does: batch read from TFRecord, forward, backward, clipping and
AdamW with dropout on; or forward alone. Weights are random. Everything is run once for
the compiler before it is timed, and the first batch, which the input pipeline begins
with, is not counted. One JSON line a mode: examples, and pieces that are no padding, a
second; the share of padding in the batches, and of padding in what is computed; and the
seconds that the matrix products alone of the same steps take, below which no step on
this machine can come. With --peer_python, benchmarks/peers/hf_step.py runs afterwards
and the ratio is printed:

    python benchmarks/bench_step.py --model=minilm --mixed_precision=bfloat16 \
        --peer_python=peers-venv/bin/python

With --against, a checkout of another commit, nothing but the ratio of the two is
measured: both run the same batches by turns, each in a process of its own that sleeps
while the other works.
"""

import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import startup

import numpy as np
import tensorflow as tf
from absl import flags

import tokenization_tf
from data_pipeline import batching, tfrecord
from data_pipeline.readers import text_files
from errors import UserError
from modeling import BertConfig, XlmConfig
from modeling.layers import packing
from systems.bert import BertSystem
from systems.system import System
from systems.xlm import XlmSystem
from tasks.classification import ClassificationConfig, ClassificationTask
from tasks.task import Records
from training.config import TrainingConfig
from training.trainer import Trainer

FLAGS = flags.FLAGS
flags.DEFINE_enum("model", "base", ["base", "minilm"], "BERT-base, or MiniLM's size.")
flags.DEFINE_enum(
    "system", "bert", ["bert", "xlm"], "XLM's is of the same sizes, and has no peer."
)
flags.DEFINE_multi_enum(
    "mode", ["train", "inference"], ["train", "inference"], "What to time."
)
flags.DEFINE_integer("batch_size", 32, "Sequences a step.", 1)
flags.DEFINE_integer(
    "batch_pieces", None, "As run_classifier's --train_batch_pieces, of training.", 1
)
flags.DEFINE_integer("max_seq_length", 128, "Tokens a sequence, at most.", 3)
flags.DEFINE_enum("mixed_precision", "off", ["off", "bfloat16"], "As run_classifier's.")
flags.DEFINE_bool("jit_compile", False, "As run_classifier's.")
flags.DEFINE_string(
    "lengths",
    "full",
    "`full`: every sequence max_seq_length long; or a tsv file with a `sentence` "
    "column (SST-2's train.tsv), whose real lengths are taken.",
)
flags.DEFINE_string("vocab_file", None, "Tokenizes the file given as --lengths.")
flags.DEFINE_integer("steps", 10, "Steps timed.", 1)
flags.DEFINE_string("against", None, "A checkout of a commit to be compared with.")
flags.DEFINE_bool(
    "by_turns", False, "Of --against: times the steps when it is told to."
)
flags.DEFINE_string(
    "peer_python",
    None,
    "An interpreter with torch and transformers; default: this one, if it has them.",
)

# BERT-base is the config's default; MiniLM: Wang et al. 2020, 6 layers.
SIZES = {
    "base": {},
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "intermediate_size": 1536,
    },
}
VOCAB_SIZE = 30522
ROOT = pathlib.Path(__file__).resolve().parent.parent
TURNS = 5
PADDINGS = ("sorted", "longest", "max")  # of the peer, see hf_step.py
PEER = pathlib.Path(__file__).resolve().parent / "peers" / "hf_step.py"


def file_lengths(count: int) -> np.ndarray:
    """Token counts, [CLS] and [SEP] included, of sentences drawn with a seed."""
    rows = text_files.READERS["tsv"](FLAGS.lengths, ["sentence"], [])
    sentences = [values[0] for _, values in rows]
    drawn = np.random.default_rng(0).permutation(len(sentences))[:count]
    if len(drawn) < count:
        raise UserError(f"{FLAGS.lengths}: {len(drawn)} sentences, wanted {count}")
    tokenizer = tokenization_tf.FastTokenizer(FLAGS.vocab_file)
    _, offsets = tokenizer.ids([sentences[i] for i in drawn])
    return np.minimum(np.diff(offsets) + 2, FLAGS.max_seq_length)


def make_system(vocab_file: str) -> System:
    """The encoder in the size that is asked for."""
    bert = BertConfig(vocab_size=VOCAB_SIZE, type_vocab_size=2, **SIZES[FLAGS.model])
    if FLAGS.system == "bert":
        return BertSystem(bert, vocab_file)
    config = XlmConfig(
        ("en", "de"),
        n_words=VOCAB_SIZE,
        emb_dim=bert.hidden_size,
        n_layers=bert.num_hidden_layers,
        n_heads=bert.num_attention_heads,
    )
    return XlmSystem(config, vocab_file)


def make_task(folder: str) -> ClassificationTask:
    """The task of two classes; its vocabulary is never read."""
    return ClassificationTask(
        ClassificationConfig(
            task_name="benchmark",
            output_kind="single_label",
            labels=("0", "1"),
            metrics=("accuracy",),
            main_metric="accuracy",
            max_seq_length=FLAGS.max_seq_length,
            do_lower_case=True,
        ),
        make_system(os.path.join(folder, "vocab.txt")),
        static_shapes=FLAGS.jit_compile,
    )


def write_records(task: ClassificationTask, path: str, lengths: np.ndarray) -> Records:
    """Writes sequences of random ids in the given lengths."""
    rng = np.random.default_rng(1)

    def records():
        for i, length in enumerate(lengths.tolist()):
            values = {
                "input_ids": rng.integers(1000, VOCAB_SIZE, length),
                "segment_ids": np.zeros(length, np.int64),
                "language_ids": 0,
                "label_ids": rng.integers(2),
            }
            values = {f.name: values[f.name] for f in task.feature_spec.features}
            yield task.feature_spec.to_example(values, example_index=i)

    return Records((path,), tfrecord.write(path, records()))


class Shape(NamedTuple):
    """What a step computes: `real` pieces, of [examples, length], in so many rows."""

    examples: int
    real: int
    length: int
    rows: int


def shape_of(mask: tf.Tensor) -> Shape:
    """Returns the shape of the batch with that mask."""
    rows = packing.rows_of(mask, packed=not FLAGS.jit_compile).places
    return Shape(
        mask.shape[0],
        int(tf.reduce_sum(mask)),
        mask.shape[1],
        mask.shape.num_elements() if rows is None else len(rows),
    )


def products_seconds(shapes: list[Shape], mode: str) -> list[float]:
    """Times the matrix products of steps alone: those of the blocks, one by one.

    A training step has two more for each: the gradients of both of its factors.
    """
    dtype = tf.float32 if FLAGS.mixed_precision == "off" else tf.bfloat16
    config = BertConfig(vocab_size=VOCAB_SIZE, type_vocab_size=2, **SIZES[FLAGS.model])
    width, inner = config.hidden_size, config.intermediate_size
    heads = config.num_attention_heads

    def pairs(shape):
        rows, length = shape.rows, shape.length
        parts, size = [shape.examples, heads], width // heads
        yield [rows, width], [width, 3 * width]
        yield [*parts, length, size], [*parts, size, length]
        yield [*parts, length, length], [*parts, length, size]
        yield [rows, width], [width, width]
        yield [rows, width], [width, inner]
        yield [rows, inner], [inner, width]

    def once(a, b, c):
        product = tf.matmul(a, b)
        if mode == "inference":
            return (product,)
        da, db = tf.matmul(c, b, transpose_b=True), tf.matmul(a, c, transpose_a=True)
        return product, da, db

    @tf.function(reduce_retracing=True, autograph=False)
    def multiply(*factors):
        return tf.while_loop(
            lambda layer, *_: layer < config.num_hidden_layers,
            lambda layer, *_: (layer + 1, *once(*factors)),
            (0, *once(*factors)),
            parallel_iterations=1,
        )

    def seconds(shape):
        total = 0.0
        for left, right in pairs(shape):
            result = [*left[:-1], right[-1]]
            factors = [tf.ones(x, dtype) for x in (left, right, result)]
            start = time.perf_counter()
            multiply(*factors)
            layers = config.num_hidden_layers
            total += (time.perf_counter() - start) * layers / (layers + 1)
        return total

    for shape in set(shapes):
        seconds(shape)
    return [seconds(shape) for shape in shapes]


def measure(folder: str, mode: str, lengths: np.ndarray) -> dict:
    """Times one mode, after the same steps once, so that all is compiled."""
    task = make_task(folder)
    records = write_records(task, os.path.join(folder, "records"), lengths)
    config = TrainingConfig(
        output_dir=folder,
        num_train_steps=FLAGS.steps,
        train_batch_size=FLAGS.batch_size,
        train_batch_pieces=FLAGS.batch_pieces,
        mixed_precision=FLAGS.mixed_precision,
        jit_compile=FLAGS.jit_compile,
    )
    trainer = Trainer(task, tf.distribute.get_strategy(), config)
    trainer.initialize()
    updates = trainer._make_updates() if mode == "train" else None
    batch_size = FLAGS.batch_size
    if FLAGS.batch_pieces:
        batch_size = batching.ByPieces(FLAGS.batch_pieces / lengths.mean())
    stream = batching.train_batches(
        list(records.files),
        task.feature_spec,
        batch_size=batch_size,
        seed=0,
        buckets=task.buckets,
    )

    def seconds() -> list[float]:
        iterator, found = iter(stream), []
        for _ in range(1 + FLAGS.steps):
            start = time.perf_counter()
            if updates:
                updates.run(iterator, tf.constant(1), tf.constant(0))[0].numpy()
            else:
                trainer._evaluators[""]._predict_batch(next(iterator))["loss"].numpy()
            found.append(time.perf_counter() - start)
        return found[1:]

    started = time.perf_counter()
    seconds()
    warm_up = time.perf_counter() - started
    if FLAGS.by_turns:
        print(json.dumps(warm_up), flush=True)
        for _ in sys.stdin:
            print(json.dumps(seconds()), flush=True)
        sys.exit()
    found = seconds()
    timed = stream.skip(1).take(FLAGS.steps)
    shapes = [shape_of(batch["input_mask"]) for batch in timed]
    return figures(mode, found, shapes) | {"warm_up_seconds": round(warm_up, 1)}


def figures(mode: str, found: list[float], shapes: list[Shape]) -> dict:
    """Puts together what is printed of a mode's steps, their seconds given."""
    total, real = sum(found), sum(shape.real for shape in shapes)
    examples = sum(shape.examples for shape in shapes)
    places = sum(shape.examples * shape.length for shape in shapes)
    products = products_seconds(shapes, mode)
    return {
        "model": FLAGS.model,
        "system": FLAGS.system,
        "mode": mode,
        "dtype": "float32" if FLAGS.mixed_precision == "off" else "bfloat16",
        "batch": f"{FLAGS.batch_pieces} pieces"
        if FLAGS.batch_pieces
        else f"{FLAGS.batch_size} examples",
        "max_seq_length": FLAGS.max_seq_length,
        "lengths": "full" if FLAGS.lengths == "full" else "file, buckets",
        "step_seconds_median": round(statistics.median(found), 4),
        "examples_per_second": round(examples / total, 2),
        "real_pieces_per_second": round(real / total, 1),
        "padding_of_batches": round(1 - real / places, 3),
        "padding_computed": round(1 - real / sum(s.rows for s in shapes), 3),
        "products_seconds_median": round(statistics.median(products), 4),
        "step_over_products": round(total / sum(products), 2),
    }


def run_peer(mode: str, padding: str) -> dict | None:
    """Runs the Hugging Face twin; None where it is not installed."""
    if FLAGS.system != "bert":
        return None
    python = FLAGS.peer_python
    if python is None:
        if not all(importlib.util.find_spec(m) for m in ("torch", "transformers")):
            return None
        python = sys.executable
    command = [python, str(PEER), f"--mode={mode}", f"--padding={padding}"]
    for name in ("model", "batch_size", "max_seq_length", "lengths", "steps"):
        command.append(f"--{name}={FLAGS[name].value}")
    if FLAGS.vocab_file:
        command.append(f"--vocab_file={FLAGS.vocab_file}")
    if FLAGS.mixed_precision == "bfloat16":
        command.append("--dtype=bfloat16")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the peer failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Turns:
    """A process that times the steps of one checkout, whenever it is asked to."""

    def __init__(self, checkout: str, mode: str):
        """Starts it, and waits until everything is compiled."""
        command = [sys.executable, __file__, *sys.argv[1:], "--by_turns"]
        self._process = subprocess.Popen(
            [*command, f"--mode={mode}"],
            env=os.environ | {"PYTHONPATH": checkout},
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.warm_up = self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise UserError("--against: a process ended; what it said is above")
        return json.loads(line)

    def seconds(self) -> float:
        """Returns the seconds of all steps, once."""
        print(file=self._process.stdin, flush=True)
        return sum(self._read())

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def compare(mode: str) -> None:
    """Prints how many times as fast these files are as those of `--against`."""
    here, there = workers = [Turns(x, mode) for x in (str(ROOT), FLAGS.against)]
    pairs = [(there.seconds(), here.seconds()) for _ in range(TURNS)]
    for worker in workers:
        worker.end()
    ratios = sorted(old / new for old, new in pairs)
    old, new = (
        statistics.median(column) / FLAGS.steps for column in zip(*pairs, strict=True)
    )
    print(
        f"{mode}: {old:.4f} s a step there, {new:.4f} here: "
        f"{statistics.median(ratios):.3f} x ({ratios[0]:.3f} to {ratios[-1]:.3f}); "
        f"compiled in {there.warm_up:.1f} and {here.warm_up:.1f} s",
        flush=True,
    )


def check_flags():
    """Yields what is wrong with the flags."""
    if FLAGS.lengths != "full" and not FLAGS.vocab_file:
        yield "--lengths names a file, so --vocab_file is needed to tokenize it"
    if FLAGS.against and not os.path.isdir(FLAGS.against):
        yield f"--against={FLAGS.against} is no folder; wanted a checkout"


def main(_):
    """Times this project, then the peer, and prints the ratios."""
    if FLAGS.against and not FLAGS.by_turns:
        for mode in FLAGS.mode:
            compare(mode)
        return
    count = (1 + FLAGS.steps) * FLAGS.batch_size
    lengths = np.full(count, FLAGS.max_seq_length)
    if FLAGS.lengths != "full":
        lengths = file_lengths(count)
    for mode in FLAGS.mode:
        with tempfile.TemporaryDirectory() as folder:
            ours = measure(folder, mode, lengths)
        print(json.dumps(ours), flush=True)
        for padding in PADDINGS if FLAGS.lengths != "full" else ["max"]:
            peer = run_peer(mode, padding)
            if peer is None:
                print("no peer: torch and transformers are not here, or have no such")
                continue
            print(json.dumps(peer), flush=True)
            ratio = ours["examples_per_second"] / peer["examples_per_second"]
            print(f"{mode}: {ratio:.2f} x the peer's examples/s ({padding} padding)")


if __name__ == "__main__":
    startup.run(main, check_flags)
