"""The accuracy of a bag of words on a classifier's data: the baseline to beat.

    python benchmarks/bag_of_words.py --task_name=sst-2 --data_dir=SST2_DIR
    python benchmarks/bag_of_words.py --data_dir=quickstart/data --text_a_column=text \
        --label_column=label --scored_set=test

The second form reads one's own files, as run_classifier.py --task_name=custom does.
"""

import json
import time

import startup

from absl import flags

import metrics
from data_pipeline.readers import custom, examples, glue
from data_pipeline.readers.examples import DataProcessor
from errors import UserError
from metrics import bag_of_words

FLAGS = flags.FLAGS
TASKS = sorted(
    name
    for name, processor in glue.PROCESSORS.items()
    if getattr(processor, "text_columns", None) == ("sentence",)
)
flags.DEFINE_enum("task_name", "custom", ["custom", *TASKS], "Whose files they are.")
flags.DEFINE_string("data_dir", None, "The folder of the data set's files.")
flags.DEFINE_string("text_a_column", None, "custom: column of the text.")
flags.DEFINE_string("label_column", None, "custom: column of the label.")
flags.DEFINE_integer(
    "max_train_examples", None, "Those that run_classifier.py draws; else all.", 1
)
flags.DEFINE_integer("seed", 0, "Of that draw.", 0)
flags.DEFINE_enum("scored_set", "dev", ["dev", "test"], "Which set is scored.")


def make_processor() -> DataProcessor:
    """Returns what reads the files.

    Raises:
      UserError: one's own files, without their columns.
    """
    if FLAGS.task_name != "custom":
        return glue.PROCESSORS[FLAGS.task_name]()
    for name in ("text_a_column", "label_column"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is not given; custom files need it")
    return custom.CustomProcessor(FLAGS.text_a_column, FLAGS.label_column)


def main(_) -> None:
    """Reads, learns, and prints one line of JSON."""
    processor = make_processor()
    train = processor.get_train_examples(FLAGS.data_dir)
    train = examples.sample(train, FLAGS.max_train_examples, FLAGS.seed)
    read = {"dev": processor.get_dev_examples, "test": processor.get_test_examples}
    scored = read[FLAGS.scored_set](FLAGS.data_dir)
    if any(example.label is None for example in scored):
        raise UserError(
            f"--scored_set={FLAGS.scored_set}: that set has no labels in "
            f"{FLAGS.data_dir}"
        )
    started = time.perf_counter()
    ids = {label: i for i, label in enumerate(processor.get_labels())}
    predictions = bag_of_words.predict(
        [example.text_a for example in train],
        [ids[example.label] for example in train],
        [example.text_a for example in scored],
    )
    targets = [ids[example.label] for example in scored]
    result = {
        "train": len(train),
        "scored": len(scored),
        **metrics.compute(["accuracy"], targets, predictions),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    startup.run(main, required=["data_dir"])
