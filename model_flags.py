"""Which model a script has: the flags that name it, and the system they come to.

Files tell most of it: an architecture and a vocabulary lie beside their weights.
"""

from collections.abc import Iterable
from typing import Any

from absl import flags, logging

import checkpoints
import command_line
import registry
import tokenization
import word_rules
from checkpoints import files
from errors import UserError
from systems.system import System, make_system
from training import state

FLAGS = flags.FLAGS


def define_model_flags() -> None:
    """The model: the parent's flags, which may be left out where files tell."""
    flags.DEFINE_enum(
        "model_type",
        None,
        sorted(registry.model_types()),
        "The system, as a check: its config or checkpoint says which it is.",
    )
    flags.DEFINE_string(
        "bert_config_file",
        None,
        "The architecture, in its authors' or Hugging Face's JSON. Default: the file "
        "beside --init_checkpoint, or in --output_dir.",
    )
    flags.DEFINE_alias("config_file", "bert_config_file")
    flags.DEFINE_string(
        "vocab_file",
        None,
        "The vocabulary, one piece a line (GPT: vocab.json, merges.txt beside it). "
        "Default: as for --bert_config_file.",
    )
    flags.DEFINE_string(
        "init_checkpoint",
        None,
        "Weights to start from: a TensorFlow checkpoint prefix; a folder of Google's, "
        "of Hugging Face's, of OpenAI's (GPT's params_shapes.json), of "
        "ELMoForManyLangs or of an earlier run (of --seeds: the best); a .safetensors "
        "file or one of torch.save (.bin, .pt, .pth), config.json beside it; bilm-tf's "
        "HDF5 file, options.json beside it; word vectors in any format, or a folder of "
        "them.",
    )
    flags.DEFINE_bool(
        "do_lower_case",
        True,
        "Whether to lower-case the text: True for uncased models. Not given: what "
        "the checkpoint's tokenizer_config.json says, else True.",
    )


def define_word_flags() -> None:
    """Which words there are, where --init_checkpoint is word vectors."""
    flags.DEFINE_integer(
        "max_vocab",
        None,
        "Word vectors: so many of the first, beside those of the training text. "
        "Default: all.",
        1,
    )


def define_word_rule_flags() -> None:
    """What finds words in texts, where a system reads words."""
    flags.DEFINE_enum(
        "tokenizer",
        None,
        word_rules.TOKENIZERS,
        "Systems of words: what finds those of a text: white space, or spaCy's rules "
        "for English. Default: as its vocabulary's words were found.",
    )
    flags.DEFINE_enum(
        "segmenter",
        None,
        word_rules.SEGMENTERS,
        "Systems of words: finds those of Chinese, or takes its characters for words. "
        "Default: as its vocabulary's words were found.",
    )


def define_language_flag() -> None:
    """Defines --language, of systems that are told what their texts are in."""
    flags.DEFINE_string(
        "language", None, "XLM: what the texts are in, as the model names it."
    )


def begin(entry: registry.Entry, config: Any, words: Iterable[str], **more) -> System:
    """Makes a new system by its entry's `begins`.

    Args:
      entry: the system's.
      config: its architecture; None: the default one.
      words: see `begins`.
      **more: what it is told besides flags.
    """
    options = {flag: FLAGS[flag].value for flag in entry.reads if flag in FLAGS}
    return entry.load("begins")(config, words, **options, **more)


def system(
    ability: str, *, vocab_required: bool = True, words: Iterable[str] = ()
) -> System:
    """Reads the model flags, and what the checkpoint's folder says where they do not.

    Args:
      ability: what it is wanted for; a key of registry.ABILITIES.
      vocab_required: False for a run that reads no text: the vocabulary is then only
        kept beside the model, if it is known.
      words: all words of a training text, for a system that begins with word vectors.

    Raises:
      UserError: the architecture or the vocabulary is not given and not found, or
        vocabulary and architecture disagree; or the system does not do what is wanted,
        or does not read a flag that is given.
    """
    init = FLAGS.init_checkpoint
    # A script that does not train has neither of these flags.
    output_dir, resize_vocab = (
        FLAGS[name].value if name in FLAGS else None
        for name in ("output_dir", "resize_vocab")
    )
    source = checkpoints.open_checkpoint(init) if init else None
    if source is None and not FLAGS.bert_config_file:
        source = _trained_here(output_dir)
    config = source.config if source else None
    if FLAGS.bert_config_file:
        config = checkpoints.read_config(FLAGS.bert_config_file, source)
    vocab_file = FLAGS.vocab_file or (source and source.vocab_file)
    if config is None:
        raise _not_given("bert_config_file", output_dir)
    entry = registry.of_config(config)
    model_type = entry.model_type
    registry.need(model_type, ability)
    check_system(model_type, FLAGS.bert_config_file or source.path)
    trains = "do_train" not in FLAGS or FLAGS.do_train
    if entry.begins and source and not source.shapes:
        if not trains:
            raise UserError(
                f"--init_checkpoint={init} holds word vectors, and no trained model: "
                "use --do_train, or give the folder of its training"
            )
        return begin(entry, config, words, word_vectors=init)
    _check_unchanged(entry, config, source, trains)
    config = _with_word_rules(entry, config, vocab_file)
    do_lower_case = _do_lower_case(source) if vocab_file else None
    found = make_system(
        config,
        vocab_file,
        do_lower_case,
        init,
        resize_vocab if trains else None,
        new_head=trains,
    )
    if vocab_file:
        return found.match_vocabulary()
    if vocab_required and found.needs_vocabulary:
        raise _not_given("vocab_file", output_dir)
    return found


def check_system(model_type: str, source: str) -> None:
    """Refuses another --model_type than an architecture's, and flags it does not read.

    Args:
      model_type: the system that the architecture is of.
      source: where the architecture was found.

    Raises:
      UserError: names --model_type, or all such flags that are given.
    """
    if FLAGS.model_type not in (None, model_type):
        raise UserError(
            f"--model_type={FLAGS.model_type}, but the architecture in {source} is "
            f"that of {model_type}"
        )
    problems = [
        f"--{flag}={FLAGS[flag].value} is not for {model_type}, only for "
        + ", ".join(others)
        for flag, others in registry.unread(model_type).items()
        if command_line.given(flag)
    ]
    if problems:
        raise UserError("; ".join(problems))


def check_language(found: System) -> None:
    """Refuses --language for a system that reads all texts alike.

    Raises:
      UserError: names the systems that are told.
    """
    if FLAGS.language is None or found.tells_languages:
        return
    able = [
        e.model_type for e in registry.entries() if e.load("system").tells_languages
    ]
    raise UserError(
        f"--language={FLAGS.language} is not for {found.model_type}, only for "
        + ", ".join(sorted(able))
    )


def in_language(found: System) -> System:
    """Returns a system as it reads texts of --language; of its training's, without.

    Raises:
      UserError: see `check_language`, or the system does not know the language.
    """
    check_language(found)
    trained = files.trained_language(found.init_checkpoint)
    return found.in_language(FLAGS.language or trained)


def _with_word_rules(entry, config, vocab_file):
    """Returns a config that says what finds words, as far as anybody does."""
    read = [name for name in word_rules.NAMES if name in entry.reads and name in FLAGS]
    flags_say = word_rules.WordRules(**{name: FLAGS[name].value for name in read})
    told = flags_say, word_rules.of(config), word_rules.read_beside(vocab_file)
    return word_rules.with_rules(config, word_rules.first_said(*told))


def _check_unchanged(entry, config, source, trains):
    """Refuses a flag that says otherwise than the architecture of what is trained.

    What finds words may be said of a model of which nobody has, until it is trained.
    """
    for flag in sorted(entry.reads):
        found = getattr(config, flag, None)
        is_said = found is not None or (flag in word_rules.NAMES and not trains)
        if command_line.given(flag) and is_said and FLAGS[flag].value != found:
            raise UserError(
                f"--{flag}={FLAGS[flag].value}, but the model in "
                f"{source.path if source else FLAGS.bert_config_file} has {flag} "
                f"{found!r}"
            )


def _not_given(flag, output_dir):
    here = f" in --output_dir={output_dir}" if output_dir else ""
    if FLAGS.init_checkpoint is None:
        nothing = here and f", and there is no such file{here}"
        return UserError(f"--{flag} is not given, nor --init_checkpoint{nothing}")
    return UserError(
        f"--{flag} is not given, and there is no such file beside "
        f"--init_checkpoint={FLAGS.init_checkpoint}" + (here and f" or{here}")
    )


def _do_lower_case(source):
    """The flag, unless it is not given and the checkpoint's folder says otherwise."""
    value = FLAGS.do_lower_case
    known = source.do_lower_case if source else None
    if known is not None and known != value:
        if FLAGS["do_lower_case"].present:
            raise UserError(
                f"--do_lower_case={value}, but {source.path} was trained with "
                f"do_lower_case={known}"
            )
        value = known
    tokenization.validate_case_matches_checkpoint(value, FLAGS.init_checkpoint)
    return value


def _trained_here(output_dir):
    newest = state.latest(output_dir) if output_dir else None
    if newest is None:
        return None
    logging.info("architecture and vocabulary are those of --output_dir=%s", output_dir)
    return checkpoints.open_checkpoint(newest)
