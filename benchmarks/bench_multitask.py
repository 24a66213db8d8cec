"""What an update of one of several tasks takes beside one of a single task.

Both are updates of a BERT of MiniLM's size, with random weights, on pairs of equal
lengths: what differs is that turns are taken, and that there are several heads. They
are timed by turns, and the median of the ratios is printed:

    python benchmarks/bench_multitask.py --tasks=4 --mixed_precision=bfloat16
"""

import os
import statistics
import tempfile
import time

import startup

import tensorflow as tf
from absl import flags

from data_pipeline.readers.examples import InputExample
from modeling import BertConfig
from optimization.optimizers import OptimizerConfig
from systems.bert import BertSystem
from systems.multitask_config import MultitaskConfig, PartConfig
from tasks.multitask import MultitaskTask
from training.config import TrainingConfig
from training.trainer import Trainer

FLAGS = flags.FLAGS
flags.DEFINE_integer("tasks", 4, "Tasks that take turns.", 2)
flags.DEFINE_integer("batch_size", 32, "Pairs in an update.", 1)
flags.DEFINE_integer("max_seq_length", 32, "Pieces of a pair.", 8)
flags.DEFINE_enum("mixed_precision", "off", ["off", "bfloat16"], "As run_multitask's.")
flags.DEFINE_integer("rounds", 8, "How often each is timed.", 1)
flags.DEFINE_integer("steps", 10, "Updates that are timed together.", 1)

WORDS = [f"word{i}" for i in range(1000)]
MINILM = BertConfig(
    vocab_size=5 + len(WORDS),
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1536,
)


class Updates:
    """Updates of so many tasks."""

    def __init__(self, number: int, folder: str):
        """Makes the tasks, their records in a folder, and the model."""
        length = FLAGS.max_seq_length
        parts = tuple(
            PartConfig(
                f"task{i}",
                "single_label",
                ("a", "b"),
                ("accuracy",),
                "accuracy",
                length,
                True,
                True,
            )
            for i in range(number)
        )
        vocab = os.path.join(folder, "vocab.txt")
        with open(vocab, "w") as file:
            marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            file.write("\n".join([*marks, *WORDS]) + "\n")
        task = MultitaskTask(
            MultitaskConfig(length, True, parts), BertSystem(MINILM, vocab)
        )
        text = " ".join(WORDS[: (length - 3) // 2])
        examples = [InputExample(str(i), text, text, "ab"[i % 2]) for i in range(200)]
        records = {
            name: part.records("train", examples, folder)
            for name, part in task.parts.items()
        }
        config = TrainingConfig(
            folder,
            1_000_000,
            FLAGS.batch_size,
            optimizer=OptimizerConfig("adamax"),
            mixed_precision=FLAGS.mixed_precision,
        )
        trainer = Trainer(task, tf.distribute.get_strategy(), config)
        trainer.initialize()
        self._updates = trainer._make_updates()
        self._batches = trainer._iterator(records, 0)

    def seconds(self, steps: int) -> float:
        """Returns how long an update takes."""
        started = time.perf_counter()
        losses, *_ = self._updates.run(
            self._batches, tf.constant(steps), tf.constant(0)
        )
        losses.numpy()
        return (time.perf_counter() - started) / steps


def main(_) -> None:
    """Times updates of one task and of several, by turns."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as several:
        timed = Updates(1, one), Updates(FLAGS.tasks, several)
        for updates in timed:
            updates.seconds(5 * FLAGS.tasks)  # every task's graph is made
        ratios = []
        for _ in range(FLAGS.rounds):
            alone, together = (updates.seconds(FLAGS.steps) for updates in timed)
            ratios.append(together / alone)
            print(f"{1e3 * alone:.1f} ms alone, {1e3 * together:.1f} ms by turns")
        print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    startup.run(main)
