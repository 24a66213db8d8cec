"""Fine-tunes an encoder to answer questions: SQuAD 1.1 and 2.0, CMRC 2018."""

import dataclasses
from collections.abc import Iterator

import startup

from absl import flags

import common_flags
import model_flags
import task_runs
from data_pipeline.readers import squad
from data_pipeline.squad import answers as squad_answers
from errors import UserError
from reports import files as report_files
from tasks.span import SpanConfig, SpanTask
from training.run import Data
from training.strategy import make_strategy

FLAGS = flags.FLAGS

model_flags.define_model_flags()
common_flags.define_training_flags(max_seq_length=384)
common_flags.define_distribution_flags()
common_flags.define_finetuning_flags()
common_flags.define_batch_pieces_flag()
flags.DEFINE_string("train_file", None, "Questions to learn from, as train-v1.1.json.")
flags.DEFINE_string(
    "predict_file",
    None,
    "Questions to answer, as dev-v1.1.json; scored as well if it has their answers.",
)
flags.DEFINE_integer(
    "doc_stride", 128, "Pieces from one window of a long text to the next.", 1
)
flags.DEFINE_integer("max_query_length", 64, "Longer questions are cut to so many.", 1)
flags.DEFINE_integer("n_best_size", 20, "Answers in nbest_predictions.json.", 1)
flags.DEFINE_integer("max_answer_length", 30, "Pieces of the longest answer.", 1)
flags.DEFINE_bool(
    "verbose_logging", False, "Logs every answer that cannot be aligned with its text."
)
flags.DEFINE_bool(
    "version_2_with_negative", False, "Some questions have no answer (SQuAD 2.0)."
)
flags.DEFINE_float(
    "null_score_diff_threshold",
    0.0,
    "No answer is given where its score exceeds the best answer's by more than that.",
)
flags.DEFINE_enum(
    "language",
    "en",
    squad.LANGUAGES,
    "zh: every Chinese character is a word, and answers are scored as CMRC 2018's.",
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    predicting = FLAGS.do_predict or FLAGS.do_eval
    for flag, wanted in (("train_file", FLAGS.do_train), ("predict_file", predicting)):
        if wanted and not FLAGS[flag].value:
            yield f"--{flag} is not given"


def task_config(do_lower_case: bool) -> SpanConfig:
    """Reads the task's flags; those not given are as in the folder's training."""
    trained = task_runs.trained_config(SpanConfig)
    names = (field.name for field in dataclasses.fields(SpanConfig))
    values = {name: task_runs.setting(name, trained) for name in names if name in FLAGS}
    return SpanConfig(**(values | {"do_lower_case": do_lower_case}))


def read_examples(config: SpanConfig) -> tuple[list, list]:
    """Reads questions to train on, and to answer, so that bad data stop the run."""
    reading = {
        "version_2_with_negative": config.version_2_with_negative,
        "language": config.language,
    }
    train, predict = [], []
    if FLAGS.do_train:
        train = squad.read_squad_examples(FLAGS.train_file, True, **reading).examples
        train = task_runs.sample(train)
    if FLAGS.do_predict or FLAGS.do_eval:
        predict = squad.read_squad_examples(FLAGS.predict_file, False, **reading)
        predict = predict.examples
    return train, predict


def main(_):
    """Reads flags and data, then trains, scores and answers."""
    strategy = make_strategy(common_flags.distribution_config())
    names = (squad_answers.PREDICTIONS, squad_answers.NBEST, squad_answers.NULL_ODDS)
    names += report_files.all_names()
    common_flags.check_output_dir(names, "train_file", "predict_file")
    system = task_runs.encoder("answers")
    config = task_config(system.do_lower_case)
    train_examples, examples = read_examples(config)
    options = task_runs.task_options()
    task = SpanTask(config, system, verbose_logging=FLAGS.verbose_logging, **options)
    scored = bool(examples)
    scored &= squad.has_answers(examples, config.version_2_with_negative)
    if FLAGS.do_eval and not scored:
        raise UserError(
            f"--do_eval: {FLAGS.predict_file} has questions without answers"
        )
    common_flags.check_an_update(len(train_examples or ()))
    common_flags.prepare_output_dir(strategy)
    train = records = None
    if train_examples:
        train = task.records("train", train_examples, FLAGS.output_dir)
    training = task_runs.training_config(task, train, len(train_examples))
    if examples:
        records = task.records("predict", examples, FLAGS.output_dir)
    dev = {"": records} if scored else {}
    data = Data(train, dev, {"": records} if FLAGS.do_predict else {})

    def write_predictions(folder, _, predictions):
        squad_answers.write_answers(folder, task.answers(predictions))

    def results(predicted):
        return task.results(predicted.predictions, examples)

    task_runs.run(task, strategy, training, data, write_predictions, results)


if __name__ == "__main__":
    startup.run(main, check_flags, required=["output_dir"])
