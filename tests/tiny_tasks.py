"""Four tiny tasks of all kinds, in the parent's form, and how they are learnt."""

import pathlib

import numpy as np
import tiny

TASKS = """
one:
  data_format: PremiseOnly
  task_type: Classification
  labels: [bad, good]
  dropout_p: 0.05
pair:
  data_format: PremiseAndOneHypothesis
  task_type: Classification
  n_class: 2
  metric_meta: [F1, ACC]
  enable_san: true
score:
  data_format: PremiseAndOneHypothesis
  task_type: Regression
rank:
  data_format: PremiseAndMultiHypothesis
  task_type: Ranking
"""
SIZES = {"train": 14, "dev": 9, "test": 5}


def write(folder: pathlib.Path) -> tuple[str, str]:
    """Writes the sets of the tasks; returns the file of tasks and the data's folder."""
    rng = np.random.default_rng(1)

    def text(word):
        words = list(rng.choice(tiny.WORDS[2:], size=rng.integers(1, 7)))
        return " ".join([*words, word])

    def words(number):
        return rng.choice(["bad", "good"], size=number)

    data = folder / "tasks"
    data.mkdir()
    for split, number in SIZES.items():
        rows = {"one": [], "pair": [], "score": [], "rank": []}
        for i in range(number):
            (a, b), candidates = words(2), words(rng.integers(1, 6))
            same, right = (
                int(a == b),
                ",".join(str(int(w == "good")) for w in candidates),
            )
            rows["one"].append([i, a, text(a)])
            rows["pair"].append([i, same, text(a), text(b)])
            rows["score"].append([i, 2.5 * (a == "good"), text(a), text(b)])
            uids = ",".join(f"{i}-{j}" for j in range(len(candidates)))
            texts = [text(w) for w in candidates]
            rows["rank"].append([uids, right, text("word3"), *texts])
        for name, found in rows.items():
            lines = ("\t".join(map(str, row)) for row in found)
            (data / f"{name}_{split}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "tasks.yml").write_text(TASKS)
    return str(folder / "tasks.yml"), str(data)


def flags(folder: pathlib.Path, output: pathlib.Path, *more: str) -> list[str]:
    """Writes model and data, once; returns the flags of a short training."""
    if not (folder / "tasks.yml").exists():
        write(folder)
        tiny.write_model(folder)
    return [
        f"--task_file={folder / 'tasks.yml'}",
        f"--data_dir={folder / 'tasks'}",
        f"--vocab_file={folder / 'vocab.txt'}",
        f"--bert_config_file={folder / 'bert_config.json'}",
        f"--output_dir={output}",
        "--max_seq_length=24",
        "--train_batch_size=4",
        "--learning_rate=1e-2",
        *more,
    ]
