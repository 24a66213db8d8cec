"""Fine-tunes an encoder to classify texts and pairs, to score them, or to choose."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import startup

import numpy as np
import tensorflow as tf
from absl import flags

import common_flags
import model_flags
import own_data
import task_runs
from atomic_files import atomic_path
from data_pipeline.readers import custom, glue, task_modules
from data_pipeline.readers import rocstories as multiple_choice
from data_pipeline.readers.examples import DataProcessor, InputExample
from data_pipeline.readers.examples import words as example_words
from errors import UserError
from inference import baselines, ensemble
from modeling.vectors import READERS
from reports import files as report_files
from reports.labels import UNSURE
from systems.classification_config import ClassificationConfig
from systems.system import System
from tasks.classification import ClassificationTask, balanced_weights
from training.progress import write_results
from training.run import RESULTS_FILE, Data, Predicted
from training.strategy import is_chief, make_strategy

FLAGS = flags.FLAGS
CUSTOM, XNLI = own_data.CUSTOM, "xnli"
OUTPUTS = (RESULTS_FILE, "test_results.tsv", "test_metrics.txt", "baselines.txt")
OUTPUTS += report_files.all_names()
PROCESSORS = glue.PROCESSORS | {"rocstories": multiple_choice.RocStoriesProcessor}

model_flags.define_model_flags()
common_flags.define_training_flags()
common_flags.define_distribution_flags()
common_flags.define_finetuning_flags()
model_flags.define_word_flags()
model_flags.define_word_rule_flags()
common_flags.define_batch_pieces_flag()
common_flags.define_unfreezing_flag()
model_flags.define_language_flag()
common_flags.define_layer_mix_flag()
own_data.define_file_flags()
flags.DEFINE_string("data_dir", None, "The folder of the data set's files.")
flags.DEFINE_string(
    "task_name",
    None,
    f"The task: {', '.join(sorted(PROCESSORS))}; or {CUSTOM}, your own files, which "
    "need not be said where files are given. Default: that of the trained model.",
)
flags.DEFINE_string(
    "task_module",
    None,
    "A Python file with tasks of your own: subclasses of DataProcessor; SimProcessor "
    "is --task_name=sim.",
)
flags.DEFINE_list(
    "eval_languages",
    [],
    "xnli: further languages whose sets are read, each for itself.",
)
flags.DEFINE_enum(
    "label_kind",
    "single_label",
    custom.LABEL_KINDS,
    "custom: one label each, several (separated by |, or a JSON list), a number, or "
    "the right one of --ending_columns: its column, or its number from 1.",
)
flags.DEFINE_list("labels", None, "custom: the labels; default: those of train.")
flags.DEFINE_bool(
    "symmetric",
    False,
    "custom: the order of a pair's texts means nothing; GPT reads both orders.",
)
flags.DEFINE_float(
    "lm_coef", 0.5, "GPT: weight of the language model's loss in training.", 0.0
)
flags.DEFINE_enum(
    "reader",
    None,
    READERS,
    "Word vectors: what reads a text's: their mean (the default), Kim's convolutions, "
    "or a bidirectional LSTM.",
)
flags.DEFINE_integer(
    "channels",
    None,
    "--reader=cnn: 2 for two copies of the vectors, one of them not trained.",
    1,
    2,
)
flags.DEFINE_enum(
    "class_weights",
    None,
    ("balanced",),
    "balanced: in training, all examples of a label count together as much as those of "
    "any other.",
)
flags.DEFINE_string(
    "main_metric",
    None,
    "Which of the task's metrics picks the best checkpoint. Default: its first.",
)
flags.DEFINE_bool(
    "baselines",
    False,
    "Prints, beside the scores on the dev set, those of two simple classifiers of the "
    "same texts: a bag of words, and the untrained encoder's mean vectors.",
)
flags.DEFINE_bool(
    "calibrate",
    False,
    "Fits a temperature on the dev set, by which logits are divided from then on: in "
    "predictions, exports and servers.",
)
flags.DEFINE_float(
    "unsure_below",
    None,
    'A prediction of less confidence is called "unsure" in predictions.tsv.',
    0.0,
    1.0,
)
flags.DEFINE_list(
    "ensemble",
    None,
    "Folders of trainings, of any systems: the mean of their probabilities is scored "
    "and predicted, instead of a model's.",
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    yield from own_data.problems()
    if FLAGS.baselines and not (
        FLAGS.do_train and (FLAGS.do_eval or FLAGS.cross_validation)
    ):
        yield "--baselines needs --do_train and --do_eval"
    if FLAGS.ensemble and (FLAGS.do_train or FLAGS.init_checkpoint):
        yield (
            "--ensemble is of trained folders: it excludes --do_train and "
            "--init_checkpoint"
        )
    if FLAGS.ensemble and FLAGS.output_dir in FLAGS.ensemble:
        yield f"--output_dir={FLAGS.output_dir} is one of --ensemble: give another one"
    if FLAGS.calibrate and not FLAGS.do_eval:
        yield "--calibrate needs --do_eval"
    for flag in ("ensemble", "cross_validation"):
        if FLAGS.calibrate and FLAGS[flag].value:
            yield f"--calibrate and --{flag} exclude"
    if FLAGS.calibrate and FLAGS.init_checkpoint and not FLAGS.do_train:
        yield (
            "--calibrate keeps its temperature beside the trained checkpoint: give its "
            "folder as --output_dir, and no --init_checkpoint"
        )
    if FLAGS.channels == 2 and not FLAGS.finetune_encoder:
        yield (
            "--channels=2 and --finetune_encoder=false exclude: without training, both "
            "are the same"
        )
    name = (FLAGS.task_name or CUSTOM).lower()
    if name not in (CUSTOM, *PROCESSORS) and not FLAGS.task_module:
        yield unknown_task(PROCESSORS)
    if FLAGS.eval_languages and not (name == XNLI and FLAGS.language):
        yield f"--eval_languages needs --task_name={XNLI} and --language"


def unknown_task(known: Iterable[str]) -> str:
    """Says which tasks there are, and how to bring one's own."""
    return (
        f"--task_name={FLAGS.task_name}; known: {', '.join(sorted(known))}, {CUSTOM}. "
        f"Your own: --task_name={CUSTOM} with --text_a_column and --label_column, or a "
        "DataProcessor in a file given by --task_module"
    )


def make_processor(trained: ClassificationConfig | None) -> DataProcessor:
    """Returns what reads the files of --task_name.

    Args:
      trained: what is said of the model that is to be used, if there is one; its
        kind and labels are taken, so that no training set is needed.
    """
    name = FLAGS.task_name.lower()
    if name != CUSTOM:
        own = task_modules.load(FLAGS.task_module) if FLAGS.task_module else {}
        processors = PROCESSORS | own
        if name not in processors:
            raise UserError(unknown_task(processors))
        if name == XNLI and FLAGS.language:
            return glue.XnliProcessor(FLAGS.language, FLAGS.eval_languages)
        return processors[name]()
    known_kind = trained and not FLAGS["label_kind"].present
    return own_data.make_processor(
        trained,
        trained.output_kind if known_kind else FLAGS.label_kind,
        FLAGS.labels or (trained and trained.labels or None),
    )


def check_trained(trained: ClassificationConfig | None, **found) -> None:
    """Refuses data that are not of the kind that the model was trained on."""
    for name, value in found.items():
        if trained and getattr(trained, name) != value:
            folder = os.path.dirname(task_runs.trained_path())
            raise UserError(
                f"--task_name={FLAGS.task_name} has {name} {value!r}, but the model in "
                f"{folder} was trained for {getattr(trained, name)!r}: "
                f"its task is {trained.task_name}"
            )


def check_kind(config: ClassificationConfig) -> None:
    """Refuses flags that are not of the task's kind, or its labels."""
    one_of_several = config.output_kind in ("single_label", "multiple_choice")
    if FLAGS.calibrate and not one_of_several:
        raise UserError(f"--calibrate is of one label each, not {config.output_kind}")
    if FLAGS.unsure_below is None:
        return
    if config.output_kind == "regression":
        raise UserError("--unsure_below: the scores of a regression have no confidence")
    if UNSURE in config.labels:
        raise UserError(f"--unsure_below: {UNSURE!r} is one of the labels already")


def check_task(trained: ClassificationConfig | None, processor: DataProcessor) -> None:
    """Refuses a task of another kind than the one the model was trained on.

    Another task of the same kind may be asked for on purpose: how good is a model of
    MNLI on XNLI? One's own files are of no task that is known, and have its metrics.
    """
    check_trained(trained, output_kind=processor.output_kind)
    if trained and CUSTOM not in (trained.task_name, FLAGS.task_name.lower()):
        metrics = tuple(processor.metrics)
        check_trained(trained, metrics=metrics, symmetric=processor.symmetric)


def read_examples(processor: DataProcessor) -> dict[str, dict[str, list]]:
    """Reads all the sets that this run needs, so that bad data stop it at once."""
    folder = FLAGS.data_dir
    examples = {"train": {}, "eval": {}, "predict": {}}
    if FLAGS.do_train:
        train, held_out = processor.get_train_examples(folder), None
        if FLAGS.holdout:
            train, held_out = own_data.hold_out(train)
        examples["train"][""] = task_runs.sample(train)
    if FLAGS.do_eval and FLAGS.holdout:
        examples["eval"][""] = held_out
    elif FLAGS.do_eval and not FLAGS.cross_validation:
        examples["eval"] = {"": processor.get_dev_examples(folder)}
        examples["eval"] |= processor.extra_dev_sets(folder)
    if FLAGS.do_predict:
        examples["predict"] = {"": processor.get_test_examples(folder)}
        examples["predict"] |= processor.extra_test_sets(folder)
    return examples


def task_config(
    processor: DataProcessor,
    examples: Mapping[str, Mapping[str, list]],
    trained: ClassificationConfig | None,
    do_lower_case: bool,
) -> ClassificationConfig:
    """Describes the task, once its data are read.

    Raises:
      UserError: the data are not of the kind that the model was trained on.
    """
    labels = tuple(processor.get_labels())
    text_pair = any(
        example.text_b is not None
        for sets in examples.values()
        for found in sets.values()
        for example in found
    )
    check_trained(trained, labels=labels, text_pair=text_pair)
    columns = getattr(processor, "column_flags", {})
    return ClassificationConfig(
        task_name=FLAGS.task_name.lower(),
        output_kind=processor.output_kind,
        labels=labels,
        metrics=tuple(processor.metrics),
        main_metric=main_metric(processor, trained),
        max_seq_length=task_runs.setting("max_seq_length", trained),
        do_lower_case=do_lower_case,
        text_pair=text_pair,
        symmetric=trained.symmetric if trained else processor.symmetric,
        language=task_runs.setting("language", trained),
        layer_mix=task_runs.setting("layer_mix", trained),
        **columns,
    )


def main_metric(processor: DataProcessor, trained: ClassificationConfig | None) -> str:
    """Returns the metric by which checkpoints are compared.

    Raises:
      UserError: --main_metric is none of the task's; lists them.
    """
    if FLAGS.main_metric is None:
        return trained.main_metric if trained else processor.main_metric
    known = [name for name in processor.metrics if name != "mse"]  # less is better
    if FLAGS.main_metric not in known:
        raise UserError(
            f"--main_metric={FLAGS.main_metric}; known for this task: "
            f"{', '.join(known)}"
        )
    return FLAGS.main_metric


def check_baselines(config: ClassificationConfig) -> None:
    """Refuses --baselines of a task that they are not of."""
    if FLAGS.baselines:
        baselines.check(config)


def class_weights(
    config: ClassificationConfig, train: Sequence[InputExample]
) -> tuple[float, ...] | None:
    """Returns the weights of the labels' losses; None where all count the same.

    Raises:
      UserError: the examples have not one label each.
    """
    if FLAGS.class_weights is None or not train:
        return None
    if config.output_kind != "single_label":
        raise UserError(
            f"--class_weights={FLAGS.class_weights} is of one label each, not "
            f"{config.output_kind}"
        )
    return balanced_weights(train, config.labels)


def run_ensemble(strategy: tf.distribute.Strategy) -> None:
    """Scores and predicts by the mean of several trained models."""
    members = ensemble.open_members(FLAGS.ensemble, common_flags.static_shapes())
    task = members[0].task
    own_data.imply_task(task.config)
    processor = make_processor(task.config)
    check_kind(task.config)
    examples = read_examples(processor)
    common_flags.prepare_output_dir(strategy)
    models = ensemble.Ensemble(
        members, strategy, common_flags.training_config(1, 0), FLAGS.use_checkpoint
    )
    folder, name_of_all = FLAGS.output_dir, f"the mean of {len(members)} models"

    def report(*found):
        predicted = Predicted(folder, *found)
        rows = examples[predicted.split][predicted.set_name]
        results = task.results(predicted.predictions, rows, FLAGS.unsure_below)
        task_runs.write_report(predicted, results, task.config.task_name)

    scores, reports = {}, []
    for name, found in examples["eval"].items():
        predictions = models.predict("eval", found, FLAGS.eval_batch_size)
        start = f"{name}_" if name else ""
        found = models.metrics(predictions)
        scores |= {start + score: value for score, value in found.items()}
        reports.append(("eval", name, name_of_all, predictions, found))
    if scores and is_chief(strategy):
        write_results(os.path.join(folder, RESULTS_FILE), scores)
    for name, found in examples["predict"].items():
        predictions = models.predict("predict", found, FLAGS.predict_batch_size)
        if is_chief(strategy):
            found = write_predictions(folder, name, predictions, found, models.metrics)
        reports.append(("predict", name, name_of_all, predictions, found))
    for found in reports if is_chief(strategy) else ():
        report(*found)


def write_predictions(
    folder: str,
    name: str,
    predictions: Mapping[str, np.ndarray],
    examples: Sequence[InputExample],
    score: Callable[[Mapping[str, np.ndarray]], Mapping[str, float]],
) -> dict[str, float]:
    """Writes the probabilities of a set; and returns its scores, if it has labels."""
    path = os.path.join(folder, file_name("test_metrics", name))
    task_runs.forget_test_scores(path)
    write_test_results(folder, name, predictions)
    if any(example.label is None for example in examples):
        return {}
    return task_runs.write_test_scores(path, score(predictions))


def main(_):
    """Reads flags and data, then trains, evaluates and predicts."""
    strategy = make_strategy(common_flags.distribution_config())
    if FLAGS.ensemble:
        run_ensemble(strategy)
        return
    common_flags.check_output_dir(OUTPUTS, "train_file", "dev_file", "test_file")
    trained = task_runs.trained_config(ClassificationConfig)
    own_data.imply_task(trained)
    processor = make_processor(trained)
    check_task(trained, processor)
    read = functools.cache(functools.partial(read_examples, processor))

    def words():  # of which most systems ask for none: they are checked before the data
        yield from example_words(read()["train"][""])

    system = task_runs.encoder("classifies", words() if FLAGS.do_train else None)
    if FLAGS.task_name.lower() != XNLI:  # whose sets are chosen by it
        model_flags.check_language(system)
    lm_losses = system.need("classifies").has_lm_losses
    weights = {"lm_coef": FLAGS.lm_coef} if lm_losses else {}
    examples = read()
    for found in (found for sets in examples.values() for found in sets.values()):
        system.check_languages(found)
    config = task_config(processor, examples, trained, system.do_lower_case)
    check_baselines(config)
    check_kind(config)
    make_task = functools.partial(new_task, config, system, weights)
    task = make_task(examples["train"].get(""))
    common_flags.check_an_update(len(examples["train"].get("", ())))
    common_flags.prepare_output_dir(strategy)
    own_data.look(strategy, processor, examples)
    settings = {**weights, "class_weights": FLAGS.class_weights}
    if FLAGS.cross_validation:
        train = examples["train"][""]
        scores = own_data.cross_validate(strategy, make_task, train, settings)
    else:
        scores = train_and_use(strategy, task, examples, settings)
    if FLAGS.baselines and is_chief(strategy):
        print(own_data.beside_baselines(task, examples, scores))


def new_task(
    config: ClassificationConfig,
    system: System,
    weights: Mapping[str, float],
    train: Sequence[InputExample] | None,
) -> ClassificationTask:
    """Makes the task; what its labels weigh is up to the training set."""
    options = task_runs.task_options()
    found = class_weights(config, train)
    return ClassificationTask(config, system, class_weights=found, **weights, **options)


def train_and_use(
    strategy: tf.distribute.Strategy,
    task: ClassificationTask,
    examples: Mapping[str, Mapping[str, list]],
    settings: Mapping[str, Any],
) -> dict[str, float]:
    """Trains, evaluates and predicts as far as there are examples for it."""
    records = {
        split: {
            name: task.records(split, found, FLAGS.output_dir)
            for name, found in sets.items()
        }
        for split, sets in examples.items()
    }
    train = records["train"].get("")
    training = task_runs.training_config(task, train)

    def write(folder, name, predictions):
        found, told = examples["predict"][name], task.calibrated(predictions)
        return write_predictions(folder, name, told, found, task.metrics)

    def results(predicted):
        if FLAGS.calibrate and (predicted.split, predicted.set_name) == ("eval", ""):
            task.calibrate(predicted.predictions)
        told = task.calibrated(predicted.predictions)
        rows = examples[predicted.split][predicted.set_name]
        return task.results(told, rows, FLAGS.unsure_below, task.temperature)

    data = Data(train, records["eval"], records["predict"])
    return task_runs.run(task, strategy, training, data, write, results, **settings)


def write_test_results(
    folder: str, name: str, predictions: Mapping[str, np.ndarray]
) -> None:
    """Writes the probabilities of each example, tab-separated, as the parent does."""
    with atomic_path(
        os.path.join(folder, file_name("test_results", name, "tsv"))
    ) as path:
        np.savetxt(path, predictions["probabilities"], fmt="%.9g", delimiter="\t")


def file_name(stem: str, set_name: str, ending: str = "txt") -> str:
    """Names the output file of a set; the main set's is the parent's name."""
    return f"{stem}_{set_name}.{ending}" if set_name else f"{stem}.{ending}"


if __name__ == "__main__":
    startup.run(main, check_flags, required=["output_dir"])
