"""Trains one encoder on several tasks at once, each with a head of its own (MT-DNN)."""

import os
from collections.abc import Iterator, Mapping, Sequence

import startup

import numpy as np
from absl import flags, logging

import common_flags
import model_flags
import task_runs
from checkpoints import files
from data_pipeline.readers import mt_dnn, task_file
from data_pipeline.readers.examples import DataProcessor
from data_pipeline.readers.ranking import Counts, RankingExample
from data_pipeline.readers.task_file import TaskEntry
from errors import MissingFile, UserError
from systems.multitask_config import RANKING, MultitaskConfig, PartConfig
from tasks.multitask import MIXES, MultitaskTask, RankingPart
from training.run import Data
from training.strategy import make_strategy

FLAGS = flags.FLAGS

model_flags.define_model_flags()
common_flags.define_training_flags()
common_flags.define_distribution_flags()
common_flags.define_finetuning_flags()
FLAGS.set_default("optimizer", "adamax")  # the parent's
FLAGS.set_default("num_train_epochs", 5.0)
flags.DEFINE_string(
    "task_file", None, "The tasks, in YAML: see docs/multitask.md for its keys."
)
flags.DEFINE_string("data_dir", None, "The folder of all tasks' files and folders.")
flags.DEFINE_enum(
    "mix",
    "proportional",
    MIXES,
    "Batches of an epoch: all that each task has; as many of each task; or "
    "proportional to the root of what it has.",
)
flags.DEFINE_float(
    "task_ratio",
    0.0,
    "The paper's alpha: an epoch has all batches of the file's first task, and so many "
    "times as many of the others; 0: all.",
    0.0,
)
flags.DEFINE_string(
    "finetune_task",
    None,
    "Learns this one of the file's tasks alone; with --init_checkpoint of a training "
    "of several, from its encoder and head.",
)
flags.DEFINE_integer(
    "pairwise_size",
    4,
    "Ranking: candidates that are compared in training, a right one with others.",
    2,
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    if FLAGS.task_ratio and FLAGS.mix != "proportional":
        yield f"--task_ratio={FLAGS.task_ratio} and --mix={FLAGS.mix} exclude"
    if FLAGS.task_ratio and FLAGS.finetune_task:
        yield (
            f"--task_ratio={FLAGS.task_ratio} is of several tasks, and "
            f"--finetune_task={FLAGS.finetune_task} of one"
        )


def read_tasks(trained: MultitaskConfig | None) -> list[TaskEntry]:
    """Reads which tasks there are, and takes those that this run is of.

    Raises:
      UserError: --finetune_task is none of them, or the model was not trained on one.
    """
    entries = task_file.read(FLAGS.task_file)
    names = [entry.name for entry in entries]
    if FLAGS.finetune_task:
        if FLAGS.finetune_task not in names:
            raise UserError(
                f"--finetune_task={FLAGS.finetune_task}; the tasks of "
                f"{FLAGS.task_file} are {', '.join(names)}"
            )
        entries = [entry for entry in entries if entry.name == FLAGS.finetune_task]
    known = [part.task_name for part in trained.parts] if trained else names
    for entry in entries:
        if entry.name not in known:
            folder = os.path.dirname(task_runs.trained_path())
            raise UserError(
                f"{entry.source}: the model in {folder} was not trained on it, but on "
                f"{', '.join(known)}: --finetune_task takes one of these"
            )
    return entries


Examples = dict[str, dict[str, dict[str, list]]]  # split -> set -> task -> examples


def read_examples(
    entries: Sequence[TaskEntry], processors: Mapping[str, DataProcessor]
) -> Examples:
    """Reads all the sets that this run needs, so that bad data stop it at once.

    Tasks without a set to predict are left out there.

    Raises:
      MissingFile: no task has a set to predict.
    """
    examples = {"train": {}, "eval": {}, "predict": {}}

    def add(split, name, sets):
        for set_name, found in sets.items():
            examples[split].setdefault(set_name, {})[name] = found

    for entry in entries:
        name, folder = entry.name, os.path.join(FLAGS.data_dir, entry.data_dir)
        reader = processors[name]
        if FLAGS.do_train:
            train = reader.get_train_examples(folder)
            add("train", name, {"": task_runs.sample(train)})
        if FLAGS.do_eval:
            dev = {"": reader.get_dev_examples(folder)}
            add("eval", name, dev | reader.extra_dev_sets(folder))
        if FLAGS.do_predict:
            try:
                test = {"": reader.get_test_examples(folder)}
                add("predict", name, test | reader.extra_test_sets(folder))
            except MissingFile as error:
                missing = error
                logging.warning("%s is not predicted: %s", name, error)
    if FLAGS.do_predict and not examples["predict"]:
        raise missing
    return examples


def part_config(
    entry: TaskEntry,
    reader: DataProcessor,
    examples: Examples,
    trained: PartConfig | None,
    do_lower_case: bool | None,
) -> PartConfig:
    """Describes a task, once its data are read.

    Raises:
      UserError: it is not what the model was trained on, or an answer network is
        wanted for single texts.
    """
    found = [
        example
        for sets in examples.values()
        for by_task in sets.values()
        for example in by_task.get(entry.name, ())
    ]
    if trained and not found:  # nothing of it is predicted
        return trained
    ranks = reader.output_kind == RANKING
    text_pair = ranks or any(example.text_b is not None for example in found)
    if entry.san and not text_pair:
        raise UserError(
            f"{entry.source}: enable_san is for the classification of pairs"
        )
    wanted = {
        "output_kind": reader.output_kind,
        "labels": tuple(reader.get_labels()),
        "text_pair": text_pair,
    }
    for key, value in wanted.items():
        if trained and getattr(trained, key) != value:
            raise UserError(
                f"{entry.source}: {key} is {value!r}, but the model was trained for "
                f"{getattr(trained, key)!r}"
            )
    if trained:
        return trained
    return PartConfig(
        task_name=entry.name,
        metrics=entry.metrics or tuple(reader.metrics),
        main_metric=entry.metrics[0] if entry.metrics else reader.main_metric,
        max_seq_length=FLAGS.max_seq_length,
        do_lower_case=do_lower_case,
        symmetric=reader.symmetric,
        enable_san=entry.san,
        dropout_p=entry.dropout_p,
        pairwise_size=FLAGS.pairwise_size if ranks else 0,
        **wanted,
    )


def task_config(
    entries: Sequence[TaskEntry],
    readers: Mapping[str, DataProcessor],
    examples: Examples,
    trained: MultitaskConfig | None,
    do_lower_case: bool | None,
) -> MultitaskConfig:
    """Describes all tasks; those that a model was trained on, where it is used."""
    known = {part.task_name: part for part in trained.parts} if trained else {}
    parts = {
        entry.name: part_config(
            entry, readers[entry.name], examples, known.get(entry.name), do_lower_case
        )
        for entry in entries
    }
    return trained or MultitaskConfig(
        FLAGS.max_seq_length, do_lower_case, tuple(parts.values())
    )


def write_predictions(
    task: MultitaskTask,
    examples: Mapping[str, list],
    folder: str,
    set_name: str,
    predictions: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Writes a set's predictions, a file a task, and scores where labels are known.

    Of each example the probabilities or the score, as run_classifier.py; of each
    question the scores of its candidates.
    """
    for name, found in predictions.items():
        part, stem = task.parts[name], f"{name}_{set_name}" if set_name else name
        ranks = isinstance(part, RankingPart)
        rows = part.question_scores(found) if ranks else found["probabilities"]
        lines = ("\t".join(f"{x:.9g}" for x in row) for row in rows)
        path = os.path.join(folder, f"test_results_{stem}.tsv")
        files.write_text(path, "\n".join(lines) + "\n")
        if can_be_scored(examples[name]):
            path = os.path.join(folder, f"test_metrics_{stem}.txt")
            task_runs.write_test_scores(path, part.metrics(found))


def can_be_scored(examples: Sequence) -> bool:
    """Tells whether all labels are known; of questions, and one can be scored."""
    if isinstance(examples[0], RankingExample):
        counts = Counts.of(examples)
        return counts.known == counts.questions and counts.comparable > 0
    return all(example.label is not None for example in examples)


def main(_):
    """Reads flags, tasks and data, then trains, evaluates and predicts."""
    strategy = make_strategy(common_flags.distribution_config())
    trained = task_runs.trained_config(MultitaskConfig)
    system = task_runs.encoder("shares")
    entries = read_tasks(trained)
    known = {part.task_name: part.labels for part in trained.parts} if trained else {}
    readers = {e.name: mt_dnn.processor(e, known.get(e.name, ())) for e in entries}
    examples = read_examples(entries, readers)
    config = task_config(entries, readers, examples, trained, system.do_lower_case)
    weights = {"mix": FLAGS.mix, "task_ratio": FLAGS.task_ratio}
    task = MultitaskTask(config, system, **weights, **task_runs.task_options())
    common_flags.prepare_output_dir(strategy)
    records = {
        split: {
            set_name: {
                name: task.parts[name].records(split, found, FLAGS.output_dir)
                for name, found in by_task.items()
            }
            for set_name, by_task in sets.items()
        }
        for split, sets in examples.items()
    }
    train = records["train"].get("")
    batch_size = FLAGS.train_batch_size
    steps = task.steps_per_epoch(train, batch_size) if train else 0
    training = common_flags.finetuning_config(steps * batch_size)

    def write(folder, name, predictions):
        found = examples["predict"][name]
        write_predictions(task, found, folder, name, predictions)

    data = Data(train, records["eval"], records["predict"])
    task_runs.run(task, strategy, training, data, write, **weights)


if __name__ == "__main__":
    startup.run(main, check_flags, required=["task_file", "data_dir", "output_dir"])
