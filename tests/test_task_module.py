"""Tasks of one's own, written as tutorials for google-research/bert teach."""

import dataclasses

import numpy as np
import pytest
import scripts
import tiny

from data_pipeline.readers import task_modules
from errors import UserError

pytestmark = pytest.mark.long

# As such a tutorial has it, but for the import.
SIM = """
import os

import tokenization
from data_pipeline.readers.examples import DataProcessor, InputExample


class SimProcessor(DataProcessor):
    def get_train_examples(self, data_dir):
        return self._create_examples(
            self._read_tsv(os.path.join(data_dir, "train.tsv")), "train")

    def get_dev_examples(self, data_dir):
        return self._create_examples(
            self._read_tsv(os.path.join(data_dir, "dev.tsv")), "dev")

    def get_test_examples(self, data_dir):
        return self._create_examples(
            self._read_tsv(os.path.join(data_dir, "test.tsv")), "test")

    def get_labels(self):
        return ["0", "1"]

    def _create_examples(self, lines, set_type):
        examples = []
        for (i, line) in enumerate(lines):
            guid = "%s-%s" % (set_type, i)
            text_a = tokenization.convert_to_unicode(line[0])
            text_b = tokenization.convert_to_unicode(line[1])
            label = "0" if set_type == "test" else line[2]
            examples.append(
                InputExample(guid=guid, text_a=text_a, text_b=text_b, label=label))
        return examples
"""
CHARACTERS = "花呗借怎么还款开通额度是什多少可以吗今天"


@pytest.fixture
def folder(tmp_path):
    """A vocabulary of characters, an architecture, sentence pairs, and the module."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHARACTERS)]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = dataclasses.replace(tiny.CONFIG, vocab_size=len(pieces))
    (tmp_path / "bert_config.json").write_text(config.to_json_string())
    (tmp_path / "my_tasks.py").write_text(SIM, encoding="utf-8")
    draw = np.random.default_rng(3)
    for name, number in (("train", 24), ("dev", 9), ("test", 7)):
        rows = []
        for _ in range(number):
            first, second = ("".join(draw.choice(list(CHARACTERS), 5)) for _ in "ab")
            same = draw.integers(2)
            rows.append(f"{first}\t{first if same else second}\t{same}\n")
        (tmp_path / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
    return tmp_path


def run(folder, output, *flags):
    scripts.run(
        "run_classifier",
        "--task_name=sim",
        f"--task_module={folder / 'my_tasks.py'}",
        f"--data_dir={folder}",
        f"--vocab_file={folder / 'vocab.txt'}",
        f"--bert_config_file={folder / 'bert_config.json'}",
        f"--output_dir={folder / output}",
        "--max_seq_length=16",
        *flags,
    )


def test_a_task_of_ones_own_trains_and_then_predicts_from_its_folder(folder):
    train = ("--do_train=true", "--do_eval=true", "--num_train_epochs=2.0")
    run(folder, "model", *train, "--train_batch_size=8", "--learning_rate=5e-5")
    results = tiny.read_results(folder / "model/eval_results.txt")
    assert results["global_step"] == 6
    predict = f"--init_checkpoint={folder / 'model'}"
    run(folder, "predicted", "--do_predict=true", predict)
    probabilities = np.loadtxt(folder / "predicted/test_results.tsv")
    assert probabilities.shape == (7, 2)


def test_an_unknown_task_tells_all_ways_to_bring_ones_own(folder):
    with pytest.raises(UserError) as error:
        run(folder, "out", "--do_train", "--task_name=simm")
    message = str(error.value)
    for word in ("--task_name=simm", "sim,", "custom", "--text_a_column", "mrpc"):
        assert word in message
    assert "--task_module" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", r"my\.py, line 1: invalid syntax"),
        ("x = 1\n", r"my\.py defines no class that inherits .*DataProcessor"),
    ],
)
def test_a_module_that_is_of_no_use_is_named(tmp_path, text, message):
    (tmp_path / "my.py").write_text(text)
    with pytest.raises(UserError, match=message):
        task_modules.load(str(tmp_path / "my.py"))
    with pytest.raises(FileNotFoundError, match=r"--task_module=.*no\.py: there is no"):
        task_modules.load(str(tmp_path / "no.py"))
