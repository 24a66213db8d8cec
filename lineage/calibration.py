"""Measures what an update, or an epoch, of short pre-trainings took, of one core.

    python -m lineage.calibration --names=bert,glove --trained=DIR,DIR \
        --batch_sizes=32,0 --epochs=3 --output_file=rates.json

The TensorBoard events of a training tell how many examples, words or pairs were read in
a second. The median of the second half counts: compilers are at work in the first.
"""

import json
import pathlib

import startup

import numpy as np
from absl import flags

from training import curves

FLAGS = flags.FLAGS
_SPEED = "_per_second"


def seconds_each(folder: str, batch_size: int | None, epochs: int | None) -> float:
    """The seconds of an update, or of an epoch.

    Args:
      folder: the output folder of a training.
      batch_size: examples of an update; None: epochs are what is counted.
      epochs: how many the training had.

    Raises:
      UserError: there are no events.
    """
    found = curves.read(folder)
    (tag,) = (tag for tag in found if tag.endswith(_SPEED))
    speeds = found[tag].values[0]
    amount = batch_size or found[tag].steps[-1] / epochs
    return float(amount / np.median(speeds[len(speeds) // 2 :]))


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_list("names", [], "What the trainings are called.")
    flags.DEFINE_list("trained", [], "Their output folders.")
    flags.DEFINE_list("batch_sizes", [], "Examples of their updates; 0: see --epochs.")
    flags.DEFINE_integer("epochs", None, "How many those without updates had.", 1)
    flags.DEFINE_string("output_file", None, "A file of JSON.")


def main(_) -> None:
    """Reads, and writes."""
    trainings = zip(FLAGS.names, FLAGS.trained, FLAGS.batch_sizes, strict=True)
    rates = {
        name: seconds_each(folder, int(batch_size) or None, FLAGS.epochs)
        for name, folder, batch_size in trainings
    }
    text = json.dumps(rates, indent=2) + "\n"
    pathlib.Path(FLAGS.output_file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["names", "trained", "batch_sizes", "output_file"])
