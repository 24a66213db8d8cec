"""Seconds from the shell to the first update of run_classifier.py, stage by stage.

Makes a folder with random weights of that size, and sentences of random words; starts
run_classifier.py on them as a user does, and prints how long it took to come to the end
of each stage. The second update shows what a step takes once all is compiled:

    python benchmarks/bench_startup.py --mixed_precision=bfloat16
"""

import functools
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time

import startup

import numpy as np
from absl import flags

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Set of the process that is timed: when it was started, by the clock of all processes.
STARTED = "BENCH_STARTUP_STARTED"
SENTENCES, WORDS = 400, 24  # 24 words and two marks: the bucket of 32


def write_folder(folder: str) -> None:
    """Writes weights, config, vocabulary and sentences, as a user has them."""
    import modeling
    from checkpoints import tensorflow_files
    from modeling import BertConfig, BertModel

    config = BertConfig(vocab_size=30522, type_vocab_size=2)
    if FLAGS.config_file:
        config = BertConfig.from_json_file(FLAGS.config_file)
    variables = modeling.named_variables(BertModel(config))
    prefix = os.path.join(folder, "bert_model.ckpt")
    tensorflow_files.save(prefix, {n: v.numpy() for n, v in variables.items()})
    words = [f"w{i}" for i in range(config.vocab_size - 5)]
    drawn = np.random.default_rng(0).choice(words, [SENTENCES, WORDS])
    rows = (f"{' '.join(row)}\t{i % 2}" for i, row in enumerate(drawn))
    for name, text in (
        ("bert_config.json", config.to_json_string()),
        (
            "vocab.txt",
            "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]),
        ),
        ("train.tsv", "\n".join(["sentence\tlabel", *rows])),
    ):
        (pathlib.Path(folder) / name).write_text(text + "\n", encoding="utf-8")


def run(folder: str) -> None:
    """Starts the script on it, in a process of its own, until its second update."""
    command = [
        *(sys.executable, __file__, "--task_name=sst-2", "--do_train"),
        f"--data_dir={folder}",
        f"--init_checkpoint={folder}/bert_model.ckpt",
        f"--output_dir={folder}/run",
        f"--mixed_precision={FLAGS.mixed_precision}",
        f"--train_batch_size={FLAGS.train_batch_size}",
    ]
    environment = {"PYTHONPATH": str(ROOT), STARTED: str(time.time())}
    subprocess.run(command, env=os.environ | environment, check=True)


class Stages:
    """Prints when each stage has ended."""

    def __init__(self):
        """Begins where the process was started."""
        self._started = self._last = float(os.environ[STARTED])
        self._updates = 0

    def end(self, stage: str) -> None:
        """Prints how long a stage took, and how late it is."""
        now = time.time()
        print(f"{now - self._last:6.2f} s {stage}, {now - self._started:.2f} in all")
        self._last = now

    def after(self, owner: type, name: str, stage: str) -> None:
        """Lets a method end a stage."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self.end(stage)
            return result

        setattr(owner, name, call)

    def update(self, run, *args):
        """Makes an update; the second one is the last."""
        losses, *others = run(*args)
        losses.numpy()
        self._updates += 1
        self.end(f"update {self._updates}")
        if self._updates == 2:
            sys.stdout.flush()
            os._exit(0)
        return losses, *others


def timed() -> None:
    """Runs run_classifier.py, and prints the ends of its stages."""
    stages = Stages()
    import tensorflow  # noqa: F401

    stages.end("TensorFlow imported")
    from training.step import TrainStep
    from training.trainer import Trainer

    begin = Trainer.__init__

    def made(trainer, *args):
        stages.end("the rest imported, data read, records written")
        begin(trainer, *args)
        stages.end("model made")

    Trainer.__init__ = made
    stages.after(Trainer, "_make_updates", "optimizer made")
    stages.after(Trainer, "initialize", "weights read")
    stages.after(TrainStep, "_forward_backward", "forward and backward pass traced")
    make = TrainStep.__init__

    def make_step(step, *args):
        make(step, *args)
        step.run = functools.partial(stages.update, step.run)

    TrainStep.__init__ = make_step
    runpy.run_path(str(ROOT / "run_classifier.py"), run_name="__main__")


def main(_):
    """Makes the folder, and runs the script in it."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder)
        run(folder)


if __name__ == "__main__":
    if STARTED in os.environ:  # its flags are run_classifier.py's
        timed()
    flags.DEFINE_string("config_file", None, "BERT's architecture. Default: BERT-base.")
    flags.DEFINE_enum(
        "mixed_precision", "off", ["off", "bfloat16"], "As run_classifier's."
    )
    flags.DEFINE_integer("train_batch_size", 32, "Sentences of 26 pieces an update.", 1)
    startup.run(main)
