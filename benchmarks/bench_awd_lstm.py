"""Words a second of a training of ULMFiT's language model, beside PyTorch's.

An update is what a run does: forward, backward, clipping and Adam, with all dropouts,
on windows whose states are carried. Variants run by turns, and medians are compared;
`no_weight_dropout` tells what DropConnect costs. The peer is torch_awd_lstm.py:

    python benchmarks/bench_awd_lstm.py --peer_python=peers-venv/bin/python
"""

import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import startup

import numpy as np
import tensorflow as tf
from absl import flags

from data_pipeline import tfrecord
from data_pipeline.corpora import token_streams
from modeling.ulmfit import UlmfitConfig
from optimization.optimizers import OptimizerConfig
from systems.ulmfit import UlmfitSystem
from tasks.task import Records
from tasks.ulmfit import UlmfitTask
from training.config import TrainingConfig
from training.trainer import Trainer

FLAGS = flags.FLAGS
flags.DEFINE_integer("vocab_size", 30000, "Words.", 10)
flags.DEFINE_integer("embedding_size", 400, "Width of a word's vector.", 1)
flags.DEFINE_integer("hidden_size", 1150, "Units of all layers but the last.", 1)
flags.DEFINE_integer("num_layers", 3, "LSTMs.", 1)
flags.DEFINE_integer("batch_size", 64, "Rows.", 1)
flags.DEFINE_integer("bptt", 70, "Words of a window.", 1)
flags.DEFINE_integer("steps", 3, "Updates timed at each turn.", 1)
flags.DEFINE_integer("runs", 3, "Turns.", 1)
flags.DEFINE_enum(
    "mixed_precision", "off", ["off", "bfloat16"], "As run_pretraining.py's."
)
flags.DEFINE_string("peer_python", None, "An interpreter that has torch.")

PEER = pathlib.Path(__file__).resolve().parent / "peers" / "torch_awd_lstm.py"


def ours(folder: str, **changes: float):
    """Returns what makes updates, and tells how many seconds each took."""
    names = ("vocab_size", "embedding_size", "hidden_size", "num_layers", "bptt")
    config = UlmfitConfig(**{name: FLAGS[name].value for name in names}, **changes)
    task = UlmfitTask(UlmfitSystem(config), 513, static_shapes=True)
    path = os.path.join(folder, "records")
    rows = np.random.default_rng(0).integers(FLAGS.vocab_size, size=[2000, 513])
    tfrecord.write(path, token_streams.encode_rows(list(rows)))
    trainer = Trainer(
        task,
        tf.distribute.get_strategy(),
        TrainingConfig(
            output_dir=folder,
            num_train_steps=10**6,
            train_batch_size=FLAGS.batch_size,
            mixed_precision=FLAGS.mixed_precision,
            optimizer=OptimizerConfig("ulmfit_adam", 1e-3, weight_decay=0.0),
        ),
    )
    trainer.initialize()
    updates = trainer._make_updates()
    batches = iter(trainer._batches(Records((path,), None), 0))
    run = functools.partial(updates.run, batches, tf.constant(1), tf.constant(0))
    for _ in range(2):
        run()[0].numpy()

    def seconds():
        found = []
        for _ in range(FLAGS.steps):
            start = time.perf_counter()
            run()[0].numpy()
            found.append(time.perf_counter() - start)
        return found

    return seconds


def torchs() -> list[float]:
    """Returns the peer's seconds of each update."""
    sizes = ("vocab_size", "embedding_size", "hidden_size", "num_layers")
    sizes += ("batch_size", "bptt", "steps")
    command = [FLAGS.peer_python, str(PEER), *(str(FLAGS[n].value) for n in sizes)]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)["seconds"]


def main(_):
    """Times the variants by turns."""
    with tempfile.TemporaryDirectory() as folder:
        timed = {
            "no_weight_dropout": ours(folder, weight_dropout=0.0),
            "ours": ours(folder),
        }
        if FLAGS.peer_python:
            timed["torch"] = torchs
        seconds = {name: [] for name in timed}
        for _ in range(FLAGS.runs):
            for name, run in timed.items():
                seconds[name] += run()
    base = statistics.median(list(seconds.values())[-1])
    for name, found in seconds.items():
        median = statistics.median(found)
        row = {
            "variant": name,
            "seconds": round(median, 3),
            "words_per_second": round(FLAGS.batch_size * FLAGS.bptt / median),
            "ratio": round(base / median, 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    startup.run(main)
