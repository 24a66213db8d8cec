"""Flags of a run that several scripts share, and what they mean together.

Each `define_*` adds a group; each `*_config` reads it into a frozen dataclass. Nothing
below the scripts sees FLAGS.
"""

import dataclasses
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import flags, logging

import command_line
import folder_lock
import paths
from errors import UserError
from optimization.optimizers import OPTIMIZERS, OptimizerConfig
from optimization.schedules import DECAYS, warmup_steps
from training import state
from training.config import KEEP_OPTIMIZER, TrainingConfig
from training.strategy import STRATEGIES, DistributionConfig, is_chief

FLAGS = flags.FLAGS
_FEW_UPDATES, _ENOUGH_UPDATES = 100, 150  # of MiniLM's fine-tuning, docs/your_data.md


_BY_PIECES = "0: as many as have about 8,192 pieces together, at most 256"


def define_training_flags(max_seq_length: int = 128) -> None:
    """Batches, optimizer, schedule, evaluation and saving."""
    flags.DEFINE_integer(
        "max_seq_length", max_seq_length, "Pieces of the longest input.", 1
    )
    flags.DEFINE_integer("train_batch_size", 32, "Examples in one update, in all.", 1)
    flags.DEFINE_float("learning_rate", 5e-5, "The peak learning rate.", 0.0)
    flags.DEFINE_integer(
        "save_checkpoints_steps", 1000, "Updates between two checkpoints.", 1
    )
    flags.DEFINE_integer(
        "iterations_per_loop", 1000, "The most updates made in one device call.", 1
    )
    flags.DEFINE_integer(
        "eval_steps",
        None,
        "Updates between two evaluations on the dev set; 0: only at the end. Default: "
        "--save_checkpoints_steps with --do_eval, else 0.",
        0,
    )
    flags.DEFINE_integer(
        "early_stopping_patience",
        0,
        "Evaluations without a better score before training ends; 0: never.",
        0,
    )
    flags.DEFINE_integer(
        "learning_rate_drops",
        0,
        "How often --early_stopping_patience, instead of ending the training, takes it "
        "back to its best model at a tenth of the rate.",
        0,
    )
    flags.DEFINE_integer(
        "keep_checkpoint_max", 5, "Newest checkpoints kept; 0: all.", 0
    )
    flags.DEFINE_enum(
        "keep_optimizer",
        "last",
        KEEP_OPTIMIZER,
        "Which of them keep the optimizer's moments, twice the size of the weights: "
        "those from which a training may go on (last), or all.",
    )
    flags.DEFINE_integer(
        "gradient_accumulation_steps",
        1,
        "Parts in which an update's batch is computed; the update is the same.",
        1,
    )
    flags.DEFINE_enum(
        "optimizer",
        "adam_weight_decay",
        OPTIMIZERS,
        "The parent's Adam without bias correction, the standard AdamW, the Adam that "
        "GPT was trained with, ELMo's Adagrad, AdamW with ULMFiT's betas, XLM's Adam, "
        "or MT-DNN's Adamax.",
    )
    flags.DEFINE_enum(
        "learning_rate_decay",
        "linear",
        DECAYS,
        "After the warm-up; slanted is ULMFiT's triangle, which it is the rise of, and "
        "inverse_sqrt XLM's, which never reaches zero.",
    )
    flags.DEFINE_float(
        "weight_decay",
        0.01,
        "Of matrices: no vector decays (biases, layer norms); Adagrad has none.",
        0.0,
    )
    flags.DEFINE_float(
        "max_grad_norm",
        1.0,
        "Gradients are scaled down to this norm; 10 for ELMo's pre-training.",
        0.0,
    )
    flags.DEFINE_float(
        "layer_decay",
        1.0,
        "Factor on the learning rate from layer to layer; of word vectors, on theirs. "
        "ULMFiT's discriminative rates, 2.6 times lower a layer, are 0.385.",
        0.0,
        1.0,
    )
    flags.DEFINE_bool(
        "finetune_encoder",
        True,
        "False: the encoder is frozen, the head is trained; so it is by default in "
        "run_classifier.py and run_tagger.py where the encoder is ELMo. Word vectors: "
        "whether those of the training text's words stay as they are.",
    )
    flags.DEFINE_bool(
        "resize_vocab",
        False,
        "Lets --vocab_file have more rows than the checkpoint; the new rows keep "
        "their random initial values. ULMFiT: lets it have other words, which keep "
        "their rows wherever they stand; new words get the mean of all.",
    )
    define_precision_flag()
    flags.DEFINE_bool(
        "jit_compile", False, "Compiles forward and backward pass as a whole with XLA."
    )
    flags.DEFINE_integer("seed", 0, "Of initial weights, data order and dropout.", 0)
    flags.DEFINE_list(
        "profile_steps", [], "First and last update to profile, as in 10,20."
    )


def define_run_flags() -> None:
    """Where a run lives and which steps it makes."""
    flags.DEFINE_string("output_dir", None, "Where checkpoints and results go.")
    flags.DEFINE_bool("do_train", False, "Whether to train.")
    flags.DEFINE_bool("do_eval", False, "Whether to score the dev set.")
    flags.DEFINE_enum(
        "use_checkpoint",
        "last",
        ("last", "best"),
        "Which checkpoint of the run is scored, and predicts.",
    )


def define_precision_flag() -> None:
    """The type to compute in."""
    flags.DEFINE_enum(
        "mixed_precision",
        "off",
        ("off", "bfloat16", "float16"),
        "Type of the matrix products; float16 scales a training's loss.",
    )


def define_finetuning_flags() -> None:
    """Which data, which steps of a run, how long and how often."""
    define_run_flags()
    flags.DEFINE_bool("do_predict", False, "Whether to predict the test set.")
    flags.DEFINE_integer(
        "eval_batch_size", 0, f"Examples in an evaluation batch; {_BY_PIECES}.", 0
    )
    flags.DEFINE_integer(
        "predict_batch_size", 0, f"Examples in a prediction batch; {_BY_PIECES}.", 0
    )
    flags.DEFINE_float("num_train_epochs", 3.0, "How often all examples are seen.", 0.0)
    flags.DEFINE_float(
        "warmup_proportion", 0.1, "Share of the steps spent warming up.", 0.0, 1.0
    )
    flags.DEFINE_integer(
        "max_train_examples", None, "Trains on so many examples, drawn by --seed.", 1
    )
    flags.DEFINE_integer(
        "seeds",
        1,
        "Repeats with --seed, --seed + 1, ... and reports mean and standard deviation.",
        1,
    )


def define_layer_mix_flag() -> None:
    """What is read of an encoder."""
    flags.DEFINE_bool(
        "layer_mix",
        False,
        "BERT, GPT, XLM: learns how much to take of each layer, as ELMo does, instead "
        "of reading the last one; the encoder is then frozen, but for "
        "--finetune_encoder.",
    )


def define_batch_pieces_flag() -> None:
    """Batches of similar work instead of equally many examples."""
    flags.DEFINE_integer(
        "train_batch_pieces",
        None,
        "Instead of --train_batch_size: fills each batch with about so many pieces, "
        "whatever their number of examples; its loss stays their mean.",
        1,
    )


def define_unfreezing_flag() -> None:
    """Which layers are trained when."""
    flags.DEFINE_bool(
        "gradual_unfreezing",
        False,
        "ULMFiT: trains the head for an epoch, and one layer more in each after it.",
    )


def define_distribution_flags() -> None:
    """Where to run: the parent's TPU flags, and the strategy."""
    flags.DEFINE_enum(
        "distribution_strategy",
        "off",
        STRATEGIES,
        "off: one device; mirrored: all GPUs of this machine; multi_worker: several "
        "machines, from TF_CONFIG; tpu: as --use_tpu.",
    )
    flags.DEFINE_bool("use_tpu", False, "Whether to use a TPU.")
    flags.DEFINE_string("tpu_name", None, "The TPU's name or grpc:// address.")
    flags.DEFINE_string("tpu_zone", None, "The TPU's zone; detected if not given.")
    flags.DEFINE_string("gcp_project", None, "Its project; detected if not given.")
    flags.DEFINE_string("master", None, "The TPU worker's address, without --tpu_name.")
    flags.DEFINE_integer("num_tpu_cores", 8, "Cores of the TPU.", 1)


def check_run() -> Iterator[str]:
    """Yields what is wrong with the shared flags, each by itself and together.

    For startup.run: no file is opened, and a group that a script does not define is
    left out.
    """
    if "distribution_strategy" in FLAGS:
        strategy = FLAGS.distribution_strategy
        if FLAGS.use_tpu and strategy not in ("off", "tpu"):
            yield f"--use_tpu and --distribution_strategy={strategy} exclude"
    if "do_train" in FLAGS:
        steps = ("do_train", "do_eval", "do_predict", "check_input")
        steps = [step for step in steps if step in FLAGS]
        if not any(FLAGS[step].value for step in steps):
            yield f"give at least one of {', '.join(f'--{step}' for step in steps)}"
    if "train_batch_size" in FLAGS:
        yield from _training_problems()
        yield from _start_problems()
        yield from _evaluation_problems()


def _training_problems():
    """What is wrong with optimizer, batches and lengths."""
    for name in ("max_grad_norm", "num_train_epochs"):
        if name in FLAGS and FLAGS[name].value == 0:
            yield f"--{name}=0: wanted more than 0"
    if _batch_pieces():
        yield from _batch_pieces_problems()
    elif FLAGS.train_batch_size % FLAGS.gradient_accumulation_steps:
        yield (
            f"--train_batch_size={FLAGS.train_batch_size} cannot be divided by "
            f"--gradient_accumulation_steps={FLAGS.gradient_accumulation_steps}"
        )
    has_decay = command_line.given("weight_decay") and FLAGS.weight_decay
    if FLAGS.optimizer == "adagrad" and has_decay:
        yield f"--weight_decay={FLAGS.weight_decay}: --optimizer=adagrad has none"
    if command_line.given("layer_decay") and not FLAGS.finetune_encoder:
        yield (
            f"--layer_decay={FLAGS.layer_decay} is of the encoder's training, which "
            "--finetune_encoder=false leaves out"
        )
    if command_line.given("gradual_unfreezing") and not FLAGS.finetune_encoder:
        yield (
            "--gradual_unfreezing is of the encoder's training, which "
            "--finetune_encoder=false leaves out"
        )
    if FLAGS.profile_steps and not _two_steps(FLAGS.profile_steps):
        steps = ",".join(FLAGS.profile_steps)
        yield f"--profile_steps={steps}: wanted two ascending steps, as in 10,20"
    if "seeds" in FLAGS and FLAGS.seed < 2**31 < FLAGS.seed + FLAGS.seeds:
        yield f"--seed={FLAGS.seed} and --seeds={FLAGS.seeds} go beyond 32 bits"


def _batch_pieces():
    """The value of --train_batch_pieces; None where a script has no such flag."""
    return FLAGS.train_batch_pieces if "train_batch_pieces" in FLAGS else None


def _batch_pieces_problems():
    """What does not go with batches by pieces."""
    given = f"--train_batch_pieces={FLAGS.train_batch_pieces}"
    if command_line.given("train_batch_size"):
        yield f"{given} and --train_batch_size={FLAGS.train_batch_size} exclude"
    if FLAGS.train_batch_pieces < FLAGS.max_seq_length:
        length = f"--max_seq_length={FLAGS.max_seq_length}"
        yield f"{given} is less than one example of {length}"
    if static_shapes():
        static = "--jit_compile" if FLAGS.jit_compile else "a TPU"
        yield f"{given} and {static} exclude: its batches are of many shapes"


def _evaluation_problems():
    """What is asked for but would never be evaluated, or never looked at."""
    patience, drops = FLAGS.early_stopping_patience, FLAGS.learning_rate_drops
    if drops and not patience:
        yield f"--learning_rate_drops={drops} needs --early_stopping_patience"
    followed = FLAGS.do_eval and FLAGS.eval_steps != 0
    if FLAGS.do_train and not followed:
        wanted = "needs evaluations in training: --do_eval, and no --eval_steps=0"
        if patience:
            yield f"--early_stopping_patience={patience} {wanted}"
        if FLAGS.use_checkpoint == "best":
            yield f"--use_checkpoint=best {wanted}"


def _start_problems():
    """Whether a training would write over the model that it starts from."""
    init, output_dir = FLAGS.init_checkpoint, FLAGS.output_dir
    if not (FLAGS.do_train and init and output_dir):
        return
    folder = init if tf.io.gfile.isdir(init) else os.path.dirname(init) or "."
    for written in (output_dir, os.path.join(output_dir, state.BEST)):
        if paths.same(folder, written):
            yield (
                f"--init_checkpoint={init} lies in --output_dir={output_dir}, where "
                "the training would write over it: give another folder, or, to go on "
                "with the training that is there, no --init_checkpoint"
            )


def _two_steps(steps):
    numbers = [int(step) for step in steps if re.fullmatch("[0-9]{1,9}", step)]
    return len(steps) == len(numbers) == 2 and numbers[0] < numbers[1]


def distribution_config() -> DistributionConfig:
    """Reads the distribution flags."""
    strategy = "tpu" if FLAGS.use_tpu else FLAGS.distribution_strategy
    return _from_flags(DistributionConfig, strategy=strategy)


def _from_flags(config_class, **others):
    """Makes a config whose fields, but for `others`, are the flags of their names."""
    names = {field.name for field in dataclasses.fields(config_class)} - others.keys()
    return config_class(**{name: FLAGS[name].value for name in names}, **others)


def static_shapes() -> bool:
    """Whether every batch must have one shape: XLA compiles each shape anew."""
    jit_compile = "jit_compile" in FLAGS and FLAGS.jit_compile
    return distribution_config().strategy == "tpu" or jit_compile


def check_output(flag: str, *inputs: str) -> None:
    """Refuses to write a file that is read, or that lies in the model's folder.

    Args:
      flag: names the file.
      inputs: flags of what is read besides the model.

    Raises:
      UserError: see paths.check_outputs.
    """
    model = ("init_checkpoint", "vocab_file", "bert_config_file")
    paths.check_outputs(
        {flag: [FLAGS[flag].value]},
        {name: [FLAGS[name].value] for name in (*inputs, *model)},
    )


def check_output_dir(names: Sequence[str], *inputs: str) -> None:
    """Refuses a run whose results would be written over its data.

    Args:
      names: of the files that are written in the output folder.
      inputs: flags of the data.

    Raises:
      UserError: see paths.check_outputs.
    """
    paths.check_outputs(
        {"output_dir": [os.path.join(FLAGS.output_dir, name) for name in names]},
        {flag: [FLAGS[flag].value] for flag in inputs},
    )


def prepare_output_dir(strategy: tf.distribute.Strategy) -> None:
    """Makes the output folder, before any work.

    Raises:
      UserError: the path is a file, or another process writes there.
    """
    folder = FLAGS.output_dir
    if tf.io.gfile.exists(folder) and not tf.io.gfile.isdir(folder):
        raise UserError(f"--output_dir={folder} is a file; wanted a folder")
    tf.io.gfile.makedirs(folder)
    if is_chief(strategy):  # the others write nothing
        folder_lock.check_free(folder)


def flags_text():
    """The flags of this run as a flagfile."""
    ours = FLAGS.flags_by_module_dict()
    values = (
        flag.serialize()
        for module in (__name__, "own_data", sys.argv[0])
        for flag in ours.get(module, ())
    )
    return "\n".join(sorted(value for value in values if value)) + "\n"


def check_an_update(num_examples: int) -> None:
    """Refuses too few examples while nothing has been written, where that can be told.

    Args:
      num_examples: 0 for a run that does not train.

    Raises:
      UserError: they make no batch of --train_batch_size.
    """
    if "train_batch_pieces" not in FLAGS or FLAGS.train_batch_pieces is None:
        _num_updates(num_examples, FLAGS.train_batch_size, "train_batch_size")


def _num_updates(num_examples, batch_size, flag):
    """Returns the updates of --num_train_epochs, at least one of any examples."""
    steps = int(num_examples / batch_size * FLAGS.num_train_epochs)
    if num_examples and steps < 1:
        raise UserError(
            f"{num_examples} training examples x --num_train_epochs="
            f"{FLAGS.num_train_epochs} make no batch of --{flag}={FLAGS[flag].value}"
        )
    return steps


def finetuning_config(
    num_examples: int, mean_length: float | None = None
) -> TrainingConfig:
    """Reads the training flags for `num_train_epochs` over the training examples.

    Args:
      num_examples: 0 for a run that does not train.
      mean_length: of the records, in pieces, where --train_batch_pieces is given: it
        makes of that a mean number of examples, by which updates are counted.

    Raises:
      UserError: the examples are too few for a single update.
    """
    batch_size, flag = FLAGS.train_batch_size, "train_batch_size"
    if mean_length is not None:
        batch_size, flag = FLAGS.train_batch_pieces / mean_length, "train_batch_pieces"
        logging.info(
            "--train_batch_pieces=%d: %.1f examples in a batch on average",
            FLAGS.train_batch_pieces,
            batch_size,
        )
    steps = _num_updates(num_examples, batch_size, flag)
    if num_examples and steps < _FEW_UPDATES:
        epochs = math.ceil(_ENOUGH_UPDATES * batch_size / num_examples)
        logging.warning(
            "%d examples x --num_train_epochs=%g are only %d updates, which often are "
            "too few for a new head: --num_train_epochs=%d would make some %d",
            num_examples,
            FLAGS.num_train_epochs,
            steps,
            epochs,
            _ENOUGH_UPDATES,
        )
    warmup = warmup_steps(FLAGS.learning_rate_decay, steps, FLAGS.warmup_proportion)
    unfreeze_steps = 0
    if "gradual_unfreezing" in FLAGS and FLAGS.gradual_unfreezing:
        unfreeze_steps = max(1, round(num_examples / batch_size))
    config = training_config(steps, warmup, unfreeze_steps)
    return dataclasses.replace(config, train_batch_size=batch_size)


def training_config(
    num_train_steps: int, num_warmup_steps: float, unfreeze_steps: int = 0
) -> TrainingConfig:
    """Reads the training flags, for a run of so many updates.

    Args:
      num_train_steps: of the run.
      num_warmup_steps: see OptimizerConfig.
      unfreeze_steps: see OptimizerConfig.
    """
    eval_steps = FLAGS.eval_steps
    if eval_steps is None:
        eval_steps = FLAGS.save_checkpoints_steps if FLAGS.do_eval else 0
    optimizer = _from_flags(
        OptimizerConfig,
        kind=FLAGS.optimizer,
        num_warmup_steps=num_warmup_steps,
        decay=FLAGS.learning_rate_decay,
        unfreeze_steps=unfreeze_steps,
    )
    return _from_flags(
        TrainingConfig,
        num_train_steps=num_train_steps,
        train_batch_pieces=_batch_pieces(),
        optimizer=optimizer,
        eval_steps=eval_steps,
        profile_steps=tuple(map(int, FLAGS.profile_steps)) or None,
        flags=flags_text(),
    )
