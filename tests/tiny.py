"""A data set, a vocabulary and an architecture small enough to train in a second."""

import pathlib
import subprocess
import sys

import numpy as np

from data_pipeline.readers.examples import InputExample
from modeling import BertConfig
from systems.bert import BertSystem
from tasks.classification import ClassificationConfig, ClassificationTask

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the scripts are told of the tables that `write_data` writes.
COLUMNS = ("--task_name=custom", "--text_a_column=text", "--label_column=label")
WORDS = ["good", "bad", *(f"word{i}" for i in range(30))]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
CONFIG = BertConfig(
    vocab_size=len(VOCAB),
    hidden_size=15,
    num_hidden_layers=1,
    num_attention_heads=3,
    intermediate_size=21,
    max_position_embeddings=40,
    type_vocab_size=2,
    initializer_range=0.2,
)


def examples(number, seed=0):
    """Texts of 1 to 20 words; the label says which of good and bad is in them."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(number):
        words = list(rng.choice(WORDS[2:], size=rng.integers(0, 20)))
        label = str(rng.choice(["bad", "good"]))
        words.insert(rng.integers(0, len(words) + 1), label)
        found.append(InputExample(f"example-{i}", " ".join(words), None, label))
    return found


def write_model(folder):
    """Writes vocab.txt and bert_config.json; returns their paths."""
    vocab, config = folder / "vocab.txt", folder / "bert_config.json"
    vocab.write_text("\n".join(VOCAB) + "\n")
    config.write_text(CONFIG.to_json_string())
    return str(vocab), str(config)


def write_data(folder, train=100, dev=37, test=11):
    """Writes train.tsv, dev.tsv and test.tsv for --task_name=custom."""
    folder.mkdir(exist_ok=True)
    for seed, (name, number) in enumerate(
        {"train": train, "dev": dev, "test": test}.items()
    ):
        rows = [f"{e.text_a}\t{e.label}" for e in examples(number, seed)]
        (folder / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return str(folder)


def system(folder, config=CONFIG, **kwargs):
    """Writes the vocabulary; returns the tiny system; keywords as System's."""
    return BertSystem(config, write_model(folder)[0], **kwargs)


def task(folder, *, static_shapes=False, frozen_encoder=False, **kwargs):
    """Returns a task over the two labels; other keywords as System's."""
    config = ClassificationConfig(
        task_name="tiny",
        output_kind="single_label",
        labels=("bad", "good"),
        metrics=("accuracy",),
        main_metric="accuracy",
        max_seq_length=24,
        do_lower_case=True,
    )
    return ClassificationTask(
        config,
        system(folder, **kwargs),
        static_shapes=static_shapes,
        frozen_encoder=frozen_encoder,
    )


def classifier_command(folder, output, *more):
    """Returns the command that fine-tunes the tiny model on the tiny data."""
    vocab, config = write_model(folder)
    data = write_data(folder / "data")
    return [
        sys.executable,
        str(ROOT / "run_classifier.py"),
        *COLUMNS,
        f"--data_dir={data}",
        f"--vocab_file={vocab}",
        f"--bert_config_file={config}",
        f"--output_dir={output}",
        "--max_seq_length=24",
        "--train_batch_size=8",
        "--learning_rate=1e-3",
        *more,
    ]


def run(command, **kwargs):
    """Runs a command to its end; returns it with its output as text."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, **kwargs
    )


def read_results(path):
    """Reads `name = value` lines."""
    lines = pathlib.Path(path).read_text().splitlines()
    return {k: float(v) for k, v in (line.split(" = ") for line in lines)}
