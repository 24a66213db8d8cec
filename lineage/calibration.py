"""Measures what an update, or an epoch, of short pre-trainings took, of one core.

    python -m lineage.calibration --names=bert,glove --trained=DIR,DIR --units=60,3 \
        --output_file=rates.json

The TensorBoard events of a training tell how many updates, words or pairs it made in a
second of CPU time. The median of the second half counts: compilers are at work in the
first, and again where a training that was killed goes on.
"""

import json
import pathlib

import startup

import numpy as np
from absl import flags

from training import curves

FLAGS = flags.FLAGS
_PACE = "_per_cpu_second"


def seconds_each(folder: str, units: int) -> float:
    """The CPU seconds of an update, or of an epoch.

    Args:
      folder: the output folder of a training.
      units: how many updates, or epochs, it had.

    Raises:
      UserError: there are no events.
    """
    found = curves.read(folder)
    (pace,) = (found[tag] for tag in found if tag.endswith(_PACE))
    later = pace.values[0][len(pace.steps) // 2 :]
    return float(pace.steps[-1] / units / np.median(later))


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_list("names", [], "What the trainings are called.")
    flags.DEFINE_list("trained", [], "Their output folders.")
    flags.DEFINE_list("units", [], "Their numbers of updates, or epochs.")
    flags.DEFINE_string("output_file", None, "A file of JSON.")


def main(_) -> None:
    """Reads, and writes."""
    trainings = zip(FLAGS.names, FLAGS.trained, FLAGS.units, strict=True)
    rates = {
        name: seconds_each(folder, int(units)) for name, folder, units in trainings
    }
    text = json.dumps(rates, indent=2) + "\n"
    pathlib.Path(FLAGS.output_file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["names", "trained", "units", "output_file"])
