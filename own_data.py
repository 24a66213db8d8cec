"""Flags of a user's own files, and the parts of them that are held out."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags, logging

import task_runs
from checkpoints.files import write_text
from data_pipeline.readers import custom, splits, survey, text_files
from data_pipeline.readers.examples import DataProcessor, InputExample
from data_pipeline.readers.tables import Dialect, Tables
from errors import UserError
from inference import baselines
from systems.classification_config import ClassificationConfig
from tasks.classification import ClassificationTask
from training.progress import write_results
from training.run import Data, Predicted, mean_scores, run_several
from training.strategy import is_chief

FLAGS = flags.FLAGS
CUSTOM = "custom"
_SPLITS = ("train", "dev", "test")
_NEEDED = {"do_train": "train", "do_eval": "dev", "do_predict": "test"}
_TABS = ("tab", r"\t")  # as a shell passes them on


def define_file_flags() -> None:
    """Which files, how they are written, which columns, and what is held out."""
    flags.DEFINE_string(
        "train_file",
        None,
        "custom: the training set, .csv, .tsv, .jsonl or .xlsx, instead of one in "
        "--data_dir.",
    )
    flags.DEFINE_string("dev_file", None, "custom: the dev set, as well.")
    flags.DEFINE_string("test_file", None, "custom: the set to predict, as well.")
    flags.DEFINE_string(
        "encoding",
        None,
        "custom: of the files. Default: by a byte order mark, UTF-8 where it is valid, "
        "else cp1252.",
    )
    flags.DEFINE_string(
        "delimiter",
        None,
        "custom: one character, or tab. Default: a comma, semicolon, tab or bar in a "
        ".csv, whichever fits its rows; a tab in a .tsv.",
    )
    flags.DEFINE_string(
        "text_a_column",
        None,
        "custom: column of the (first) text. Default, also of --label_column: by its "
        "name or, where there is no doubt, by what is in it.",
    )
    flags.DEFINE_string(
        "text_b_column", None, "custom: column of a pair's second text."
    )
    flags.DEFINE_list(
        "ending_columns", None, "custom: columns of the endings to choose from."
    )
    flags.DEFINE_string("label_column", None, "custom: column of the label.")
    flags.DEFINE_string(
        "language_column",
        None,
        "custom: column of what the texts are in, for XLM; each is scored for itself, "
        "too.",
    )
    flags.DEFINE_float(
        "holdout",
        None,
        "Share of --train_file that is not trained on but is the dev set, drawn by "
        "--seed, labels spread evenly; written to split/ in --output_dir.",
    )
    flags.DEFINE_integer(
        "cross_validation",
        None,
        "Parts of --train_file, each of which is scored and predicted by a model that "
        "is trained on the others.",
        2,
    )


def problems() -> Iterator[str]:
    """Yields what is wrong with these flags, each by itself and together."""
    given = files()
    if given and (FLAGS.task_name or CUSTOM).lower() != CUSTOM:
        yield f"--{min(given)}_file is of --task_name={CUSTOM}, not {FLAGS.task_name}"
    if not (given or FLAGS.data_dir):
        yield "--data_dir is not given, nor are files: --train_file, --test_file"
    elif not FLAGS.data_dir:
        yield from _missing_files(given)
    if FLAGS.do_train and not FLAGS.task_name and not given:
        yield "--task_name is not given"
    yield from _split_problems(given)


def _missing_files(given):
    for step, split in _NEEDED.items():
        made = split == "dev" and (FLAGS.holdout or FLAGS.cross_validation)
        if FLAGS[step].value and split not in given and not made:
            other = " or --holdout" if split == "dev" else ""
            yield f"--{step} needs --{split}_file{other}"


def _split_problems(given):
    share, parts = FLAGS.holdout, FLAGS.cross_validation
    if share is not None and not 0 < share < 1:
        yield f"--holdout={share}: wanted a share above 0 and below 1"
    if share is not None and parts:
        yield "--holdout and --cross_validation exclude"
    for flag in ("holdout", "cross_validation"):
        if FLAGS[flag].value is None:
            continue
        if not (FLAGS.do_train and "train" in given):
            yield f"--{flag} needs --do_train and --train_file"
        if flag == "holdout" and not FLAGS.do_eval:
            yield "--holdout needs --do_eval"
        if "dev" in given:
            yield f"--{flag} makes a dev set: it excludes --dev_file"
    if parts and FLAGS.do_predict:
        yield "--cross_validation predicts the rows of --train_file, no --do_predict"
    if parts and FLAGS.calibrate:
        yield "--cross_validation makes no model that --calibrate could be of"
    if parts and FLAGS.seeds > 1:
        yield "--cross_validation and --seeds exclude"


def files() -> dict[str, str]:
    """Returns the files that are given: "train", "dev" or "test" -> path."""
    found = {split: FLAGS[f"{split}_file"].value for split in _SPLITS}
    return {split: path for split, path in found.items() if path}


def imply_task(trained: ClassificationConfig | None) -> None:
    """Sets --task_name where it is not given: one's own files, or the model's task.

    Raises:
      UserError: neither tells.
    """
    known = CUSTOM if files() else trained and trained.task_name
    if not (FLAGS.task_name or known):
        raise UserError("--task_name is not given")
    FLAGS.set_default("task_name", known)


def make_processor(
    trained: ClassificationConfig | None, label_kind: str, labels: Sequence[str] | None
) -> custom.CustomProcessor:
    """Returns what reads one's own files.

    Args:
      trained: what is said of the model that is to be used, if there is one; its
        columns are taken where flags give no others.
      label_kind: see CustomProcessor.
      labels: see CustomProcessor.
    """
    delimiter = "\t" if FLAGS.delimiter in _TABS else FLAGS.delimiter
    names = ("text_a_column", "text_b_column", "label_column", "language_column")
    columns = {
        name: FLAGS[name].value or (getattr(trained, name) if trained else None)
        for name in names
    }
    if FLAGS.language:  # of all texts
        columns["language_column"] = FLAGS.language_column
    chosen = trained and trained.output_kind == "multiple_choice"
    endings = trained.labels if chosen else ()
    return custom.CustomProcessor(
        **columns,
        label_kind=label_kind,
        labels=labels,
        ending_columns=FLAGS.ending_columns or endings,
        symmetric=FLAGS.symmetric,
        files=files(),
        tables=Tables(Dialect(FLAGS.encoding, delimiter)),
    )


def hold_out(
    train: Sequence[InputExample],
) -> tuple[list[InputExample], list[InputExample]]:
    """Splits a training set as --holdout says."""
    kept, held_out = splits.hold_out(train, FLAGS.holdout, FLAGS.seed)
    return [train[i] for i in kept], [train[i] for i in held_out]


def look(
    strategy: tf.distribute.Strategy,
    processor: DataProcessor,
    examples: Mapping[str, Mapping[str, list]],
) -> None:
    """Tells what is in one's own files, and writes the parts that --holdout made.

    Raises:
      UserError: the folder holds other parts, of which a model there may be.
    """
    if FLAGS.task_name.lower() != CUSTOM or not is_chief(strategy):
        return
    names = {"train": "train", "eval": "dev", "predict": "test"}
    sets = {names[split]: found[""] for split, found in examples.items() if found}
    survey.tell(sets)
    if not FLAGS.holdout:
        return
    folder = os.path.join(FLAGS.output_dir, "split")
    texts = {
        os.path.join(folder, f"{name}.csv"): processor.csv_text(sets[name])
        for name in ("train", "dev")
    }
    for path, text in texts.items():
        if tf.io.gfile.exists(path) and text_files.read_text(path) != text:
            raise UserError(
                f"{path} is there already, of other rows, another --seed or another "
                "--holdout: give another --output_dir"
            )
    for path, text in texts.items():
        write_text(path, text)
    logging.info(
        "--holdout=%g: %d rows to train on, %d to score; --data_dir=%s uses them again",
        FLAGS.holdout,
        len(sets["train"]),
        len(sets["dev"]),
        folder,
    )


def cross_validate(
    strategy: tf.distribute.Strategy,
    make_task: Callable[[Sequence[InputExample]], ClassificationTask],
    examples: Sequence[InputExample],
    settings: Mapping[str, Any],
) -> dict[str, float]:
    """Trains without each part of the examples, and scores and predicts that part.

    Every run has a folder of its own in --output_dir, which has the means of their
    scores, and table and report of what was predicted of every row.

    Args:
      strategy: where to compute.
      make_task: takes the examples that are trained on.
      examples: all.
      settings: see task_runs.run.

    Returns:
      The means of the scores, and their standard deviations.
    """
    folder, runs, found = FLAGS.output_dir, {}, []
    for name, (train, held_out) in _folds(examples).items():
        task = make_task([examples[i] for i in train])
        sets = {"train": train, "eval": held_out}
        records = {
            split: task.records(split, [examples[i] for i in rows], folder)
            for split, rows in sets.items()
        }
        dev = {"": records["eval"]}
        data = Data(records["train"], dev, dev)

        def keep(_folder, _name, predictions, rows=tuple(held_out)):
            found.append((rows, predictions))

        run = task_runs.make_run(task, strategy, data, keep, **settings)
        runs[name] = (run, task_runs.training_config(task, records["train"]))
    scores = run_several(runs, folder)
    if is_chief(strategy):
        _report_out_of_fold(task, examples, found)
    return mean_scores(list(scores.values()))


def _report_out_of_fold(task, examples, found):
    """Writes table and report of what was predicted of every row.

    Args:
      task: any fold's.
      examples: all.
      found: of each fold, the rows that it was not trained on, and what it predicts.
    """
    order = np.argsort(np.concatenate([rows for rows, _ in found]))
    names = found[0][1]
    joined = {
        name: np.concatenate([predictions[name] for _, predictions in found])[order]
        for name in names
    }
    told = task.calibrated(joined)
    models = f"{len(found)} models, each of the rows that it was not trained on"
    predicted = Predicted(
        FLAGS.output_dir, "eval", "", models, joined, task.metrics(joined)
    )
    results = task.results(told, examples, FLAGS.unsure_below)
    task_runs.write_report(predicted, results, task.config.task_name)


def _folds(examples):
    """Returns name -> rows to train on and rows that are held out."""
    found = splits.folds(examples, FLAGS.cross_validation, FLAGS.seed)
    return {f"fold_{number}": rows for number, rows in enumerate(found, 1)}


def beside_baselines(
    task: ClassificationTask,
    examples: Mapping[str, Mapping[str, list]],
    scores: Mapping[str, float],
) -> str:
    """Scores the simple classifiers on the same rows as the model.

    Returns:
      A table as text; its numbers are in baselines.txt, too.
    """
    train = examples["train"][""]
    if FLAGS.cross_validation:
        parts = [
            tuple([train[i] for i in rows] for rows in found)
            for found in _folds(train).values()
        ]
    else:
        parts = [(train, examples["eval"][""])]
    found = [baselines.scores(task.config, task.system, *part) for part in parts]
    names = set.intersection(*(set(scored) for scored in found))
    results = {
        "this model": {n: scores[f"eval_{n}"] for n in task.config.metrics},
        **{
            name: {
                metric: float(np.mean([scored[name][metric] for scored in found]))
                for metric in task.config.metrics
            }
            for name in sorted(names)
        },
    }
    flat = {
        f"{name}_{metric}": value
        for name in sorted(names)
        for metric, value in results[name].items()
    }
    write_results(os.path.join(FLAGS.output_dir, "baselines.txt"), flat)
    return baselines.table(results)
