"""Trained models as SavedModels that read plain text, and a way to call them.

Taggers read sentences of words, and so does ELMo, which gives their vectors. Where the
rules of texts do not run in a graph, as GPT's, models read token ids, and `load`
tokenizes.

Whoever loads one needs TensorFlow and `import tensorflow_text`, nothing of this
project; the vocabulary, the labels and the longest input are inside:

    import tensorflow as tf, tensorflow_text
    model = tf.saved_model.load("exported")
    model.signatures["serving_default"](text_a=tf.constant(["What a lovely day!"]))
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import modeling
import registry
from atomic_files import atomic_path
from errors import UserError
from inference import word_serving
from inference.serving import (
    BESIDE,
    TEXTS,
    TOKENS,
    Predictor,
    load,
    read_task,
    read_task_name,
    record_spec,
)
from modeling.layers import base
from systems.system import make_system, open_system
from tasks.classification import ClassificationTask
from tasks.encoder import EncoderTask
from tasks.multitask import MultitaskTask, RankingPart
from tasks.span import SpanTask
from tasks.tagging import TaggingTask

__all__ = ["CHECKPOINTS", "DTYPES", "Predictor", "export_model", "load"]

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
DTYPES = tuple(_POLICIES)
CHECKPOINTS = ("last", "best")

Outputs = dict[str, tf.Tensor]


def save_classifier(
    task: ClassificationTask, model: keras.layers.Layer, folder: str
) -> None:
    """Writes the SavedModel of a trained model.

    What is loaded from it has, beside its signatures, `labels`, a string variable [L]
    in the order of the probabilities (empty for a regression), and `encode`, if it
    reads texts: from text_a (and text_b) to what the signature `token_ids` reads.

    Args:
      task: labels, longest input and kind of output.
      model: its trained model.
      folder: where to; see `export_model` for the signatures.
    """
    config = task.config
    served = tf.Module()
    labels = np.array(config.labels, object)
    served.labels = tf.Variable(labels, dtype=tf.string, trainable=False)
    # The model itself would bring Keras's bookkeeping along.
    served.weights = [variable.value for variable in model.variables]
    answer = word_serving.trace(
        _answer_function(task, model, served.labels), _signature(task)
    )
    encoder = task.system.text_encoder(config.max_seq_length)
    if encoder is None:
        _save_beside(task, served, answer, folder)
        return
    served.encoder = encoder
    texts = ("text_a", "text_b") if config.text_pair else ("text_a",)
    strings = {name: tf.TensorSpec([None], tf.string, name) for name in texts}
    # Each part is one function in the file, whoever calls it.
    served.encode = tf.function(encoder, autograph=False)
    encode = served.encode.get_concrete_function(**strings)
    signatures = {
        TEXTS: word_serving.trace(lambda **texts: answer(**encode(**texts)), strings),
        TOKENS: answer,
    }
    tf.saved_model.save(served, folder, signatures=signatures)


def save_multitask(task: MultitaskTask, model: keras.layers.Layer, folder: str) -> None:
    """Writes the SavedModel of a model of several tasks, all heads on one encoder pass.

    What is loaded from it has `encode`, as a classifier's; a text alone has "" beside
    it.

    Args:
      task: the parts.
      model: its trained model.
      folder: where to; see `export_model` for the signatures.
    """
    served = tf.Module()
    served.weights = [variable.value for variable in model.variables]
    answer = word_serving.trace(_several_function(task, model), _signature(task))
    served.encoder = task.system.text_encoder(task.config.max_seq_length)
    served.encode = tf.function(served.encoder, autograph=False)
    texts = ("text_a", "text_b")
    strings = {name: tf.TensorSpec([None], tf.string, name) for name in texts}
    encode = served.encode.get_concrete_function(**strings)
    signatures = {
        TEXTS: word_serving.trace(lambda **texts: answer(**encode(**texts)), strings),
        TOKENS: answer,
    }
    tf.saved_model.save(served, folder, signatures=signatures)


def save_span_extractor(task: SpanTask, model: keras.layers.Layer, folder: str) -> None:
    """Writes the SavedModel of a trained model that answers questions.

    Args:
      task: lengths, and how answers are chosen.
      model: its trained model.
      folder: where to; see `export_model` for the signatures.
    """
    served = tf.Module()
    served.weights = [variable.value for variable in model.variables]
    features = _signature(task)
    score = word_serving.trace(_score_function(model), features)
    config = task.config
    graph = task.can.graph(config.windows(), task.answer_config(), config.language)
    if graph is None:
        _save_beside(task, served, score, folder)
        return
    served.graph = graph

    def answer(question, context):
        windows = graph.windows(question, context)
        logits = score(**{name: windows[name] for name in features})
        return graph.answer(windows, **logits)

    texts = ("question", "context")
    strings = {name: tf.TensorSpec([None], tf.string, name) for name in texts}
    signatures = {TEXTS: word_serving.trace(answer, strings), TOKENS: score}
    tf.saved_model.save(served, folder, signatures=signatures)


def save_tagger(task: TaggingTask, model: keras.layers.Layer, folder: str) -> None:
    """Writes the SavedModel of a trained tagger.

    Args:
      task: labels, longest row and schemes.
      model: its trained model.
      folder: where to; see `export_model` for the signatures.
    """
    served, tag, decode = word_serving.serve_tagger(task, model)
    if tag is None:
        _save_beside(task, served, decode, folder)
        return
    tf.saved_model.save(served, folder, signatures={TEXTS: tag, TOKENS: decode})


def _signature(task: EncoderTask) -> dict[str, tf.TensorSpec]:
    return task.system.encoder_inputs(record_spec(task).signature())


def _save_beside(task, served, function, folder):
    """Writes a model that reads token ids only, and what makes these of texts."""
    signatures = {TEXTS: function, TOKENS: function}
    tf.saved_model.save(served, folder, signatures=signatures)
    task.save_beside(os.path.join(folder, BESIDE))


def outputs_function(
    task: EncoderTask, model: keras.layers.Layer
) -> tuple[Callable[..., Outputs], tuple[str, ...]]:
    """Returns what a trained model answers, as serving.TaskReader joins it.

    Args:
      task: the model's.
      model: with its weights.

    Returns:
      A function of features to outputs with a row for each record; their names.
    """
    if isinstance(task, TaggingTask):
        names = task.feature_spec.signature()
        return word_serving.tag_decoder(model), tuple(names)
    if isinstance(task, SpanTask):
        return _score_function(model), tuple(_signature(task))
    if isinstance(task, MultitaskTask):
        return _several_function(task, model), tuple(_signature(task))
    labels = tf.constant(task.config.labels, tf.string)
    # A classifier may read more of a batch than an export has.
    names = tuple(task.feature_spec.batch_signature())
    return _answer_function(task, model, labels), names


def _score_function(model):
    names = ("start_logits", "end_logits")
    return lambda **features: dict(zip(names, model(**features), strict=True))


def _answer_function(
    task: ClassificationTask, model: keras.layers.Layer, labels: tf.Variable | tf.Tensor
) -> Callable[..., Outputs]:
    """Returns a function from the model's inputs to what a client is answered."""
    return lambda **features: _answers(
        task, task.can.run(model, features, None)["logits"], labels
    )


def _several_function(
    task: MultitaskTask, model: keras.layers.Layer
) -> Callable[..., Outputs]:
    """Returns a function from the encoder's inputs to the answers of all tasks."""
    labels = {
        part.task_name: tf.constant(part.labels, tf.string)
        for part in task.config.parts
    }

    def answer(**features):
        found = {}
        for name, logits in model(**features).items():
            answers = _answers(task.parts[name], logits, labels[name])
            found |= {f"{name}/{key}": value for key, value in answers.items()}
        return found

    return answer


def _answers(
    task: ClassificationTask | RankingPart, logits: tf.Tensor, labels: tf.Variable
) -> Outputs:
    """Returns what a client is answered.

    Every answer has one row for each text, as TensorFlow Serving's REST API wants it.
    """
    if task.config.output_kind in ("regression", "ranking"):
        return {"scores": logits[:, 0]}
    outputs = task.probabilities(logits)
    answers = {
        "label_names": tf.broadcast_to(labels, tf.shape(outputs)),
        "probabilities": outputs,
    }
    if task.config.output_kind == "multi_label":
        return answers
    best = tf.gather(labels, tf.argmax(outputs, axis=-1))
    return {"labels": best, **answers}


def export_model(
    model_dir: str,
    export_dir: str,
    *,
    use_checkpoint: str = "last",
    dtype: str = "float32",
) -> None:
    """Exports what a script that fine-tunes has trained, and ELMo.

    Signatures: `serving_default` reads `text_a` (and, from a task of pairs, `text_b`),
    or `question` and `context`, string [B]; `token_ids` reads `input_ids`,
    `input_mask` and `segment_ids`, int32 [B, S]. The text rules of GPT, XLM, ULMFiT,
    ELMo's classifiers and of words found by more than white space do not run in a
    graph: both signatures read what the encoder reads, `input_ids` and most often
    `input_mask` (`input_ids` of GPT is [B, S, R] where an example has R sequences, of
    ELMo [B, S, C]). `assets.extra` has the vocabulary, the config and the task, from
    which `load` makes these of texts. All answer with

      one label    `labels` string [B], and as multi-label
      multi-label  `label_names` string [B, L], `probabilities` float32 [B, L]
      regression   `scores` float32 [B]

    and of several tasks `<task>/labels` and so on, a ranking's candidates `scores`, all
    from one `text_a` and `text_b`, "" where there is none;
    but for questions: from texts `answers` string [B] and `scores` float32 [B] (and
    `null_odds` float32 [B], of SQuAD 2.0), from tokens `start_logits` and `end_logits`,
    float32 [B, S].

    Of a tagger `serving_default` reads `words`, string [B, T], "" where a sentence has
    no more, and answers `tags`, string [B, T], in the scheme of the files that it was
    trained on; `token_ids` reads what its records hold and answers `tag_ids`. ELMo,
    unless it is a tagger's, answers `vectors`, float32 [B, T, layers, width].

    Args:
      model_dir: an output folder of one of these scripts, or any folder with ELMo;
        nothing else is read.
      export_dir: new or empty; it appears when all of it is written.
      use_checkpoint: "last", or "best" by the score on the dev set.
      dtype: "float32" or "bfloat16", of the matrix products; the weights are stored
        in float32.

    Raises:
      UserError: an argument is not one of these, or a folder not as described.
    """
    for name, value, known in (
        ("use_checkpoint", use_checkpoint, CHECKPOINTS),
        ("dtype", dtype, DTYPES),
    ):
        if value not in known:
            raise UserError(f"--{name}={value}; wanted one of {', '.join(known)}")
    with _new_folder(export_dir) as temporary:
        folder = _find_folder(model_dir, use_checkpoint)
        checkpoint = checkpoints.open_checkpoint(folder)
        if read_task_name(folder) is None and _gives_words(checkpoint):
            _export_vectors(checkpoint, _POLICIES[dtype], temporary)
        else:
            task = _read_task(model_dir, folder, checkpoint)
            _export_task(task, checkpoint, _POLICIES[dtype], temporary)
    logging.info("%s -> %s (%s)", checkpoint.path, export_dir, dtype)


def trained_model(
    task: EncoderTask, checkpoint: checkpoints.Checkpoint, *, dtype: str, fused: bool
) -> keras.layers.Layer:
    """Makes a task's model with the weights of its training; see Task.build_model."""
    with base.drawn_later():
        model = task.build_model(dtype=dtype, fused=fused, seed=0)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    return model


def _export_task(
    task: EncoderTask, checkpoint: checkpoints.Checkpoint, policy: str, folder: str
) -> None:
    model = trained_model(task, checkpoint, dtype=policy, fused=False)
    save = {
        ClassificationTask: save_classifier,
        SpanTask: save_span_extractor,
        TaggingTask: save_tagger,
        MultitaskTask: save_multitask,
    }[type(task)]
    save(task, model, folder)


def _gives_words(checkpoint: checkpoints.Checkpoint) -> bool:
    """Whether a model without a task gives vectors of words that a graph reads."""
    if checkpoint.config is None:
        return False
    extracts = registry.of_config(checkpoint.config).load("extracts")
    return extracts is not None and extracts.words_in_graph


def _export_vectors(
    checkpoint: checkpoints.Checkpoint, policy: str, folder: str
) -> None:
    if not checkpoint.shapes:
        raise UserError(
            f"{checkpoint.path}: word vectors alone have no export; train on them first"
        )
    system = open_system(checkpoint)
    model = system.load_encoder(dtype=policy, fused=False)
    served, vectors = word_serving.serve_vectors(system, model)
    tf.saved_model.save(served, folder, signatures={TEXTS: vectors})


def _find_folder(model_dir: str, use_checkpoint: str) -> str:
    """Returns the folder of the weights, if there are any."""
    folder = model_dir
    if use_checkpoint == "best":
        folder = os.path.join(model_dir, "best")  # as training/trainer.py names it
    if not tf.io.gfile.isdir(folder) or not checkpoints.find_weights(folder):
        raise UserError(
            f"--model_dir={model_dir}: there is no trained checkpoint in {folder}; "
            "wanted an output folder of run_classifier.py, run_multitask.py, "
            "run_squad.py or run_tagger.py --do_train"
            + (" --do_eval" if use_checkpoint == "best" else "")
            + " (of several seeds, one of the folders seed_<n>), or one of ELMo"
        )
    return folder


def _read_task(
    model_dir: str, folder: str, checkpoint: checkpoints.Checkpoint
) -> EncoderTask:
    """Makes the task of a folder, which must have all that it needs."""
    config, vocab_file = checkpoint.config, checkpoint.vocab_file
    missing = None
    if config is None:
        missing = "bert_config.json, nor another system's"
    elif vocab_file is None and make_system(config).needs_vocabulary:
        missing = "vocab.txt or vocab.json"
    if missing:
        raise UserError(f"--model_dir={model_dir}: there is no {missing} in {folder}")
    return read_task(folder, config, vocab_file)


@contextlib.contextmanager
def _new_folder(path: str) -> Iterator[str]:
    """Yields a folder beside `path`, which becomes `path` when all went well."""
    path = path.rstrip("/")
    if tf.io.gfile.exists(path) and (
        not tf.io.gfile.isdir(path) or tf.io.gfile.listdir(path)
    ):
        raise UserError(
            f"--export_dir={path} is not empty; wanted a new or empty folder"
        )
    with atomic_path(path) as temporary:
        yield temporary
