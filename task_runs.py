"""What the scripts that fine-tune do alike, whatever their task is.

A task is described by a TaskConfig; the one that a model was trained with lies as
task.json in its folder, and speaks wherever a flag is not given.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from absl import flags, logging

import checkpoints
import common_flags
import model_flags
import registry
from data_pipeline.readers import examples
from reports import files as report_files
from reports.results import Results
from systems.system import System
from systems.task_config import Config
from tasks.encoder import EncoderTask, find_task_file
from tasks.task import Records
from training import state
from training.config import TrainingConfig
from training.progress import write_results
from training.run import Data, Predicted, Run, WritePredictions

FLAGS = flags.FLAGS


def encoder(ability: str, words: Iterable[str] | None = None) -> System:
    """Reads the model flags; by default a system is fine-tuned or not as its paper did.

    Args:
      ability: what it is wanted for; a key of registry.ABILITIES.
      words: all words of the training text, for which some systems are made new; None:
        there is no such text.

    Raises:
      UserError: see model_flags.system, and the `begins` of the system's entry.
    """
    system = words is not None and _begun(ability, words)
    words = () if words is None else words
    system = system or model_flags.system(ability, words=words)
    frozen = "layer_mix" in FLAGS and FLAGS.layer_mix
    tunes = system.finetunes_by_default and not frozen
    FLAGS.set_default("finetune_encoder", tunes)
    return system


def _begun(ability, words):
    """Returns a new system of --model_type; None if it is trained, or begins as all."""
    trained = FLAGS.init_checkpoint
    if not FLAGS.bert_config_file:  # which is of a new model, or of one begun so
        trained = trained or state.latest(FLAGS.output_dir)
    entry = FLAGS.model_type and registry.find(FLAGS.model_type)
    if trained or not (entry and entry.begins):
        return None
    registry.need(entry.model_type, ability)
    path = FLAGS.bert_config_file
    config = checkpoints.read_config(path) if path else None
    found = registry.of_config(config) if config else entry
    model_flags.check_system(found.model_type, path)
    return model_flags.begin(entry, config, words)


def trained_path() -> str | None:
    """Finds the task.json of the model that is used without training; None to train."""
    if FLAGS.do_train:
        return None
    return find_task_file(FLAGS.output_dir, FLAGS.init_checkpoint)


def trained_config(config_class: type[Config]) -> Config | None:
    """Reads what is said of the model that is used without training; None to train.

    Raises:
      UserError: its task.json is broken, or another task's.
    """
    path = trained_path()
    return path and config_class.from_json_file(path)


def setting(name: str, trained: Config | None) -> Any:
    """Returns a flag's value; where it is not given, that of the folder's training."""
    found = trained if trained and not FLAGS[name].present else FLAGS
    return getattr(found, name)


def sample(train: list) -> list:
    """Draws --max_train_examples of a training set by --seed; all, if it has fewer."""
    return examples.sample(train, FLAGS.max_train_examples, FLAGS.seed)


def task_options() -> dict[str, bool]:
    """Reads the arguments that every EncoderTask takes beside config and system."""
    return {
        "static_shapes": common_flags.static_shapes(),
        "frozen_encoder": not FLAGS.finetune_encoder,
    }


def training_config(
    task: EncoderTask, train: Records | None, num_examples: int | None = None
) -> TrainingConfig:
    """Reads the training flags, now that the records say how long they are.

    Args:
      task: what to learn.
      train: the training set's records; None for a run that does not train.
      num_examples: what an epoch is counted by; None: the records.

    Raises:
      UserError: see common_flags.finetuning_config.
    """
    if not train:
        return common_flags.finetuning_config(0)
    number = train.num_examples if num_examples is None else num_examples
    by_pieces = FLAGS.train_batch_pieces is not None
    mean_length = float(task.lengths(train).mean()) if by_pieces else None
    return common_flags.finetuning_config(number, mean_length)


def run(
    task: EncoderTask,
    strategy: tf.distribute.Strategy,
    config: TrainingConfig,
    data: Data,
    write_predictions: WritePredictions,
    results: Callable[[Predicted], Results] | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Trains, evaluates and predicts as far as there are data, for every seed.

    Args:
      task: what to learn.
      strategy: where to compute.
      config: of the training.
      data: the examples.
      write_predictions: see training.run.Run.
      results: from predictions to what their table and report tell; None: nothing.
      **settings: what else shaped the weights; a run that goes on must have the same.

    Returns:
      The scores on the dev sets; of several seeds, see Run.run_seeds.
    """
    made = make_run(task, strategy, data, write_predictions, results, **settings)
    return made.run_seeds(config, FLAGS.seeds)


def make_run(
    task: EncoderTask,
    strategy: tf.distribute.Strategy,
    data: Data,
    write_predictions: WritePredictions,
    results: Callable[[Predicted], Results] | None = None,
    **settings: Any,
) -> Run:
    """Returns what trains, evaluates and predicts; the arguments are those of `run`."""

    def report(predicted):
        write_report(predicted, results(predicted), task.config.task_name)

    return Run(
        task=task,
        strategy=strategy,
        data=data,
        settings={
            "task": task.config.training_values(),
            "model": task.system.describe(),
            **settings,
            "train_records": data.train and _file_names(data.train),
        },
        use_checkpoint=FLAGS.use_checkpoint,
        predict_batch_size=FLAGS.predict_batch_size,
        write_predictions=write_predictions,
        report=results and report,
        use_initial=not FLAGS.do_train and bool(FLAGS.init_checkpoint),
    )


def write_report(predicted: Predicted, results: Results, task_name: str) -> None:
    """Writes the table of a set's predictions, and the report on them.

    Args:
      predicted: the set and its scores.
      results: what is told of it.
      task_name: of the task.
    """
    split = {"eval": report_files.DEV, "predict": report_files.TEST}[predicted.split]
    facts = {"Task": task_name, "Checkpoint": predicted.checkpoint or "the initial one"}
    place = predicted.folder, split, predicted.set_name
    report_files.write(*place, results, facts, predicted.scores)


def _file_names(records):
    """Tells training examples from others: their file, or those of several tasks."""
    if isinstance(records, Mapping):
        return {name: _file_names(found) for name, found in records.items()}
    return os.path.basename(records.files[0])


def forget_test_scores(path: str) -> None:
    """Removes the scores of earlier predictions: newer ones are about to be written."""
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def write_test_scores(path: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Writes the scores of predictions whose right answers are known.

    Args:
      path: the file.
      scores: as a task's `metrics` names them, `eval_...`; written as `test_...`.

    Returns:
      The scores as written.
    """
    scores = {key.replace("eval_", "test_"): scores[key] for key in scores}
    logging.info("***** Test results ***** %s", scores)
    write_results(path, scores)
    return scores
