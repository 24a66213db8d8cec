"""Draws the curves of trainings beside each other: losses and scores over the updates.

python plot_runs.py --runs=bert,gpt --output_file=curves.png
python plot_runs.py --runs='sweep/*' --tags=train/loss,eval/eval_accuracy \
    --output_file=curves.svg

What is drawn are the TensorBoard events of output folders. A folder of --seeds is one
line, the mean, in a band of a standard deviation.
"""

import os
from collections.abc import Iterator, Sequence

import startup

from absl import flags

import paths
import pictures
from errors import UserError
from training import curves

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "runs", None, "Output folders of trainings: names and globs, by commas."
)
flags.DEFINE_list("names", None, "A name for each of them. Default: the folders'.")
flags.DEFINE_list(
    "tags",
    None,
    "What to draw, as train/loss,eval/eval_accuracy. Default: the loss in training and "
    "all scores.",
)
flags.DEFINE_string(
    "output_file", None, f"The picture: one of {', '.join(pictures.ENDINGS)}."
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    output = FLAGS.output_file
    if output and not output.endswith(pictures.ENDINGS):
        yield f"--output_file={output}: wanted one of {', '.join(pictures.ENDINGS)}"


def names_of(folders: Sequence[str]) -> list[str]:
    """Returns a different name for each folder: the ends of their paths.

    Raises:
      UserError: --names are not as many, or not different ones.
    """
    if FLAGS.names:
        if len(set(FLAGS.names)) != len(folders):
            raise UserError(
                f"--names={','.join(FLAGS.names)}: wanted {len(folders)} different "
                f"names, for {', '.join(folders)}"
            )
        return FLAGS.names
    parts = [os.path.normpath(folder).split(os.sep) for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        found = [os.sep.join(part[-length:]) for part in parts]
        if len(set(found)) == len(found):
            return found
    raise UserError(f"--runs={','.join(FLAGS.runs)}: a folder is there twice")


def main(_):
    """Reads the events, and draws."""
    folders = paths.find_files(FLAGS.runs, "runs")
    paths.check_outputs({"output_file": [FLAGS.output_file]}, {"runs": folders})
    names = names_of(folders)
    runs = dict(zip(names, map(curves.read, folders), strict=True))
    tags = curves.shown(runs, FLAGS.tags)
    curves.draw(FLAGS.output_file, runs, tags)
    print(f"runs = {len(runs)}\npanels = {len(tags)}")


if __name__ == "__main__":
    startup.run(main, check_flags, required=["runs", "output_file"])
