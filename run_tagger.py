"""Trains a tagger of words, as for named entities, pre-trained or of the text."""

import os
import re
from collections.abc import Iterator

import startup

from absl import flags

import common_flags
import model_flags
import registry
import task_runs
from data_pipeline.readers import conll
from data_pipeline.readers.conll import TaggedText
from errors import UserError
from reports import files as report_files
from systems.system import System
from tasks.tagging import TaggingConfig, TaggingTask
from tasks.task import Records
from training.run import RESULTS_FILE, Data, WritePredictions
from training.strategy import make_strategy

FLAGS = flags.FLAGS
STEPS = {"train": "do_train", "dev": "do_eval", "test": "do_predict"}

model_flags.define_model_flags()
common_flags.define_training_flags()
common_flags.define_distribution_flags()
common_flags.define_finetuning_flags()
model_flags.define_word_flags()
model_flags.define_word_rule_flags()
model_flags.define_language_flag()
common_flags.define_batch_pieces_flag()
common_flags.define_layer_mix_flag()
flags.DEFINE_string("train_file", None, "Tagged sentences to learn from.")
flags.DEFINE_string("dev_file", None, "Tagged sentences to score.")
flags.DEFINE_string("test_file", None, "Sentences to tag; scored if they have tags.")
flags.DEFINE_enum(
    "data_format",
    "conll",
    conll.FORMATS,
    "conll: a word a line, in columns, an empty line after a sentence; tsv: a header, "
    "then text_a and label, words and tags separated by spaces.",
)
flags.DEFINE_integer("token_column", 0, "conll: column of the words; -1: the last.")
flags.DEFINE_string(
    "tag_column",
    "-1",
    "conll: column of the tags; -1: the last. none (of tsv, too): the --test_file "
    "has no tags.",
)
flags.DEFINE_enum(
    "tag_scheme",
    None,
    conll.SCHEMES,
    "What the files' tags are in; never guessed. plain: a label a word, no entities.",
)
flags.DEFINE_enum(
    "output_scheme",
    "BIO",
    conll.SCHEMES,
    "What the model learns; with --tag_scheme=plain, plain.",
)
flags.DEFINE_bool(
    "raw_text",
    False,
    "--test_file has a sentence a line, as it was written: its words are found as "
    "English has them; Chinese is tagged by characters, or as --segmenter says.",
)
flags.DEFINE_bool("crf", False, "Whether a CRF chooses a sentence's tags together.")
flags.DEFINE_string(
    "word_vectors",
    None,
    f"--model_type={'|'.join(registry.readers('word_vectors'))}: word vectors to start "
    "from, of word2vec or GloVe (text or binary), fastText's .vec, .npy with words or "
    "TensorBoard's projector. Default: random ones for the words of --train_file.",
)
flags.DEFINE_string(
    "lm_checkpoint",
    None,
    f"--model_type={'|'.join(registry.readers('lm_checkpoint'))}: ELMo's language "
    "model, whose states the tagger reads.",
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    for split, step in STEPS.items():
        if FLAGS[step].value and not FLAGS[f"{split}_file"].value:
            yield f"--{step} needs --{split}_file"
    if FLAGS.raw_text and not FLAGS.do_predict:
        yield "--raw_text is of --test_file: it needs --do_predict"
    if not re.fullmatch("-?[0-9]{1,4}|none", FLAGS.tag_column):
        yield f"--tag_column={FLAGS.tag_column}: wants a whole number or none"
    for flag in ("word_vectors", "lm_checkpoint"):
        readers = registry.readers(flag)
        if FLAGS[flag].value and FLAGS.model_type not in readers:
            yield f"--{flag} needs --model_type={'|'.join(readers)}"


def read_texts(scheme: str | None) -> dict[str, TaggedText]:
    """Reads all the files of words that this run needs: bad data stop it at once."""
    texts = {}
    column = None if FLAGS.tag_column == "none" else int(FLAGS.tag_column)
    for split, step in STEPS.items():
        if not FLAGS[step].value:
            continue
        if not scheme:
            raise UserError(f"--{step} needs --tag_scheme")
        if split == "test" and FLAGS.raw_text:
            continue
        texts[split] = conll.read(
            FLAGS[f"{split}_file"].value,
            FLAGS.data_format,
            scheme=scheme,
            token_column=FLAGS.token_column,
            tag_column=column,
            labelled=split != "test",
        )
    if FLAGS.max_train_examples and "train" in texts:
        texts["train"] = texts["train"].sample(FLAGS.max_train_examples, FLAGS.seed)
    return texts


def make_task(
    system: System, texts: dict[str, TaggedText], trained: TaggingConfig | None
) -> TaggingTask:
    """Returns the task, once it knows every tag of the texts."""
    if not trained and "train" not in texts:
        raise UserError(f"{FLAGS.output_dir} has no trained tagger: use --do_train")
    tag_scheme = task_runs.setting("tag_scheme", trained)
    if tag_scheme == conll.PLAIN:
        FLAGS.set_default("output_scheme", conll.PLAIN)
    scheme = task_runs.setting("output_scheme", trained)
    config = TaggingConfig(
        labels=(
            trained.labels
            if trained
            else conll.scheme_tags(texts["train"].tags, scheme)
        ),
        tag_scheme=tag_scheme,
        output_scheme=scheme,
        crf=task_runs.setting("crf", trained),
        max_seq_length=task_runs.setting("max_seq_length", trained),
        do_lower_case=system.do_lower_case,
        language=task_runs.setting("language", trained),
        layer_mix=task_runs.setting("layer_mix", trained),
    )
    task = TaggingTask(config, system, **task_runs.task_options())
    for split in texts.keys() - {"test"}:
        task.check(texts[split])
    return task


def make_records(
    task: TaggingTask, texts: dict[str, TaggedText]
) -> tuple[dict[str, Records], bool]:
    """Makes the features of all texts; tells whether the test's tags are all known."""
    records, known = {}, True
    for split, text in texts.items():
        if split == "test":
            text, unseen = task.without_unseen(text)
            known = not unseen
        records[split] = task.records(split, text, FLAGS.output_dir)
    return records, known


def predictions_writer(
    task: TaggingTask, test: TaggedText, known: bool
) -> WritePredictions:
    """Returns what Run calls with predictions: writes, and scores, them."""

    def write(folder, _, predictions):
        scores_path = os.path.join(folder, "test_results.txt")
        task_runs.forget_test_scores(scores_path)
        path = os.path.join(folder, "test_predictions.txt")
        test.write(path, task.tags(predictions, test))
        if test.tags is None:
            return {}
        if known:
            scores = task.metrics(predictions)
        else:
            scores = task.text_metrics(predictions, test)
        return task_runs.write_test_scores(scores_path, scores)

    return write


def main(_):
    """Reads flags and files, then trains, scores and tags."""
    strategy = make_strategy(common_flags.distribution_config())
    names = ("test_predictions.txt", "test_results.txt", RESULTS_FILE)
    names += report_files.all_names()
    common_flags.check_output_dir(names, "train_file", "dev_file", "test_file")
    trained = task_runs.trained_config(TaggingConfig)
    texts = read_texts(task_runs.setting("tag_scheme", trained))
    words = texts["train"].words if FLAGS.do_train else None
    system = task_runs.encoder("tags", words)
    model_flags.check_language(system)
    if FLAGS.raw_text:
        split = system.sentence_splitter.words
        texts["test"] = conll.read_raw(FLAGS.test_file, split)
    task = make_task(system, texts, trained)
    if FLAGS.do_train:
        common_flags.check_an_update(len(texts["train"].offsets) - 1)
    common_flags.prepare_output_dir(strategy)
    records, known = make_records(task, texts)
    train = records.get("train")
    training = task_runs.training_config(task, train)
    data = Data(
        train,
        {"": records["dev"]} if FLAGS.do_eval else {},
        {"": records["test"]} if FLAGS.do_predict else {},
    )
    write_predictions = predictions_writer(task, texts.get("test"), known)

    def results(predicted):
        text = texts[{"eval": "dev", "predict": "test"}[predicted.split]]
        return task.results(predicted.predictions, text)

    task_runs.run(task, strategy, training, data, write_predictions, results)


if __name__ == "__main__":
    startup.run(main, check_flags, required=["output_dir"])
