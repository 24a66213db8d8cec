"""Tells whether one run is better than another, on the same rows, beyond chance.

python compare_runs.py A B, where each is an output folder with predictions.tsv, or the
folder of several seeds.
"""

import startup

import numpy as np
from absl import flags

from reports import compare

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "metric",
    None,
    "What to compare by: accuracy, f1 (of class 1), macro_f1, matthews_correlation; of "
    "several labels micro_f1, macro_f1, exact_match; of scores pearson, mse; of tags "
    "f1, accuracy; of answers f1, exact_match. Default: the first one.",
)
flags.DEFINE_string(
    "file",
    None,
    "The tables to compare. Default: predictions.tsv, or eval_predictions.tsv where "
    "the right answers of the former are not known.",
)
flags.DEFINE_integer("seed", 0, "Of the resampling.", 0)
flags.DEFINE_integer("samples", 10_000, "Resampled test sets.", 100, 1_000_000)


def show(name: str, side: compare.Side, values: list[float]) -> None:
    """Prints where a side is and how it scores."""
    spread = f" ± {np.std(values, ddof=1):.2f} (std)" if len(values) > 1 else ""
    runs = f"{len(values)} runs" if len(values) > 1 else "1 run"
    print(f"{name}: {side.folder} ({runs}): {np.mean(values):.2f}{spread}")


def main(argv):
    """Reads two folders, compares, prints."""
    sides = compare.open_sides(argv[1:], FLAGS.file)
    found = compare.compare(sides, FLAGS.metric, seed=FLAGS.seed, samples=FLAGS.samples)
    rows = len(next(iter(sides[0].runs[0].same_rows().values())))
    print(f"{found.metric} on {rows:,} rows of {sides[0].path}")
    for name, side, values in zip("AB", sides, found.values, strict=True):
        show(name, side, values)
    if found.disagreements:
        only_a, only_b = found.disagreements
        print(f"right in A alone: {only_a:,}; in B alone: {only_b:,}")
    print(found.verdict)


if __name__ == "__main__":
    startup.run(main, words=("A", "B"))
