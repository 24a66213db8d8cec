"""Pre-trains on text: masked words and the order of sentences, or what comes next."""

from collections.abc import Iterator
from typing import Any

import startup

from absl import flags, logging

import common_flags
import model_flags
import paths
import registry
from data_pipeline import tfrecord
from data_pipeline.record_faults import Search
from errors import UserError
from optimization.schedules import Coefficient
from tasks.bidirectional_language_model import STATE_RESETS
from tasks.pretraining import PretrainingTask
from training.run import Data, Run
from training.strategy import make_strategy

FLAGS = flags.FLAGS
_SHOWN_FAULTS = 10

model_flags.define_model_flags()
common_flags.define_training_flags()
flags.DEFINE_integer("eval_batch_size", 8, "Examples in an evaluation batch.", 1)
common_flags.define_distribution_flags()
common_flags.define_run_flags()
model_flags.define_word_rule_flags()
flags.DEFINE_list(
    "input_file", None, "Files of create_pretraining_data.py; globs, commas between."
)
flags.DEFINE_list(
    "eval_input_file", None, "Files to evaluate on. Default: --input_file."
)
flags.DEFINE_bool(
    "check_input",
    False,
    "Whether to read all records once before anything else, and report.",
)
flags.DEFINE_integer(
    "max_predictions_per_seq", 20, "BERT's: the most masked words of an example.", 1
)
flags.DEFINE_integer(
    "ngram_baseline",
    0,
    "GPT's, ELMo's, ULMFiT's: scores Kneser-Ney n-grams of this length on the same "
    "tokens, as ngram_perplexity; 3 is usual.",
    0,
)
flags.DEFINE_integer("unroll_steps", 20, "ELMo's: words of a training window.", 1)
flags.DEFINE_enum(
    "state_reset",
    "sentence",
    STATE_RESETS,
    "ELMo's: whether a training window that begins with a sentence begins with zeros; "
    "never: it goes on from the window before, as in bilm-tf. ULMFiT's: the same of "
    "documents.",
)
flags.DEFINE_bool(
    "backward",
    None,
    "ULMFiT's: reads documents from their end. Default: as the model that is trained "
    "on, else false.",
)
flags.DEFINE_list(
    "clm_steps", [], "XLM's: languages, or pairs as en-de, to learn the next word of."
)
flags.DEFINE_list(
    "mlm_steps",
    [],
    "XLM's: languages to learn masked words of, and pairs, which is TLM. Default: "
    "without --clm_steps, every language of the model.",
)
flags.DEFINE_string(
    "lambda_clm",
    "1",
    "XLM's: factor on the loss of --clm_steps; or its values at updates, as in "
    "0:1,1000:0, with straight lines between them.",
)
flags.DEFINE_string("lambda_mlm", "1", "XLM's: the same of --mlm_steps.")
flags.DEFINE_float(
    "lg_sampling_factor",
    0.7,
    "XLM's: a language with a share p of the records is drawn in proportion to p to "
    "the power of this; -1: all alike.",
)
flags.DEFINE_float(
    "sample_alpha",
    0.0,
    "XLM's: words are masked in proportion to their count to the power of minus this; "
    "0: all alike.",
    0.0,
)
flags.DEFINE_integer("num_train_steps", 100000, "Updates in the whole run.", 1)
flags.DEFINE_integer("num_warmup_steps", 10000, "Updates of linear warm-up.", 0)
flags.DEFINE_integer(
    "max_eval_steps", 100, "The most batches an evaluation takes; 0: all.", 0
)


def task_options(kind: type[PretrainingTask]) -> dict[str, Any]:
    """Reads the flags that shape the weights of such tasks alone."""
    return {name: FLAGS[name].value for name in kind.options}


def make_task() -> PretrainingTask:
    """Returns the task that the model's system is pre-trained on."""
    system = model_flags.system("pretrains", vocab_required=False)
    if FLAGS.do_train and system.vocab_file is None:
        logging.warning(
            "no --vocab_file: --output_dir will lack the vocabulary, and what trains "
            "on from there will have to be given it"
        )
    kind = registry.need(system.model_type, "pretrains")
    return kind(
        system,
        FLAGS.max_seq_length,
        **task_options(kind),
        static_shapes=common_flags.static_shapes(),
        frozen_encoder=not FLAGS.finetune_encoder,
    )


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    for name in ("lambda_clm", "lambda_mlm"):
        try:
            Coefficient.parse(FLAGS[name].value)
        except UserError as error:
            yield f"--{name}={FLAGS[name].value}: {error}"
    if FLAGS.ngram_baseline and not (FLAGS.do_eval and FLAGS.eval_input_file):
        yield (
            f"--ngram_baseline={FLAGS.ngram_baseline} counts --input_file and predicts "
            "--eval_input_file: it needs both, and --do_eval"
        )


def find_files(flag: str) -> list[str]:
    """Returns the files that a flag's names and globs stand for, each once."""
    return list(dict.fromkeys(paths.find_files(FLAGS[flag].value or [], flag)))


def check_records(task: PretrainingTask, files: list[str]) -> None:
    """Reads all records of all files and tells how many there are.

    Raises:
      UserError: some cannot be used; names the first ones.
    """
    search, shown, number = Search(files, task.feature_spec), [], 0
    for number, fault in enumerate(search, 1):
        if number <= _SHOWN_FAULTS:
            shown.append(fault)
    if number:
        more = [f"and {number - len(shown)} more"] if number > len(shown) else []
        raise UserError("\n  ".join(["records that cannot be used:", *shown, *more]))
    print(f"checked_files = {len(files)}")
    print(f"checked_records = {search.num_records}")


def main(_):
    """Reads the flags, looks at the files, then trains and evaluates."""
    strategy = make_strategy(common_flags.distribution_config())
    files = find_files("input_file")
    eval_files = find_files("eval_input_file") or files
    task = make_task()
    if FLAGS.check_input:
        check_records(task, list(dict.fromkeys(files + eval_files)))
        if not (FLAGS.do_train or FLAGS.do_eval):
            return
    train = task.train_records(files) if FLAGS.do_train else None
    dev = {}
    if FLAGS.do_eval:
        limit = FLAGS.max_eval_steps * FLAGS.eval_batch_size or None
        dev[""] = task.eval_records(eval_files, limit)
    if train and dev and set(files) & set(eval_files):
        logging.warning("evaluating on training examples: see --eval_input_file")
    if FLAGS.ngram_baseline:
        task.compare_with_ngrams(FLAGS.ngram_baseline, files, dev[""])
    common_flags.prepare_output_dir(strategy)
    Run(
        task=task,
        strategy=strategy,
        data=Data(train, dev, {}),
        settings={
            "max_seq_length": FLAGS.max_seq_length,
            **task_options(type(task)),
            "model": task.system.describe(),
            "input_files": [tfrecord.identity(file) for file in files],
        },
        use_checkpoint=FLAGS.use_checkpoint,
        use_initial=True,
    ).run(common_flags.training_config(FLAGS.num_train_steps, FLAGS.num_warmup_steps))


if __name__ == "__main__":
    startup.run(main, check_flags, required=["input_file", "output_dir"])
