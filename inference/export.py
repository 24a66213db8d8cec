"""Trained models as SavedModels that read plain text, and a way to call them.

Taggers read sentences of words, and so does ELMo, which gives their vectors. GPT's text
rules do not run in a graph: its models read token ids, and `load` tokenizes.

Whoever loads one needs TensorFlow and `import tensorflow_text`, nothing of this
project; the vocabulary, the labels and the longest input are inside:

    import tensorflow as tf, tensorflow_text
    model = tf.saved_model.load("exported")
    model.signatures["serving_default"](text_a=tf.constant(["What a lovely day!"]))
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import modeling
import tokenization
from atomic_files import atomic_path
from checkpoints import bilm, elmoformanylangs, files, tensorflow_files
from data_pipeline.squad.graph import SquadGraph
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
)
from modeling import ElmoConfig
from systems.system import make_system
from tasks.classification import ClassificationTask
from tasks.encoder import EncoderTask
from tasks.span import SpanTask
from tasks.tagging import TaggingConfig, TaggingTask
from tokenization_tf import InGraphTokenizer

__all__ = ["CHECKPOINTS", "DTYPES", "Predictor", "export_model", "load"]

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
DTYPES = tuple(_POLICIES)
CHECKPOINTS = ("last", "best")

Outputs = dict[str, tf.Tensor]


class TextEncoder(tf.Module):
    """Texts to a batch of token ids, laid out as features/bert.py does."""

    def __init__(
        self, vocab: Mapping[str, int], do_lower_case: bool, max_seq_length: int
    ):
        """Builds the tokenizer.

        Args:
          vocab: piece -> id, in the order of the ids.
          do_lower_case: as for FullTokenizer.
          max_seq_length: most pieces of an input, [CLS] and [SEP] included.
        """
        super().__init__()
        self._tokenizer = InGraphTokenizer(list(vocab), do_lower_case)
        self._cls, self._sep = vocab["[CLS]"], vocab["[SEP]"]
        self._max_seq_length = max_seq_length

    def __call__(
        self, text_a: tf.Tensor, text_b: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Tokenizes, truncates, lays out, and pads to the longest of the batch.

        Args:
          text_a: string [B], UTF-8.
          text_b: string [B]; None, or "" in one row, where there is no second text.

        Returns:
          `input_ids`, `input_mask` and `segment_ids`, int32 [B, S].
        """
        if text_b is None:
            text_b = tf.zeros_like(text_a)
        check = tf.debugging.assert_equal(
            tf.size(text_a), tf.size(text_b), "text_a and text_b differ in number"
        )
        # In eager mode the assertion has run and is None.
        with tf.control_dependencies([check] if check is not None else []):
            a, b = self._tokenizer(text_a), self._tokenizer(text_b)
        kept_a, kept_b = kept_lengths(
            a.row_lengths(), b.row_lengths(), self._max_seq_length
        )
        has_b = tf.cast(kept_b > 0, tf.int64)
        first = [self._once(self._cls, tf.ones_like(has_b)), _head(a, kept_a)]
        first = tf.concat([*first, self._once(self._sep, tf.ones_like(has_b))], axis=1)
        second = tf.concat([_head(b, kept_b), self._once(self._sep, has_b)], axis=1)
        input_ids = tf.concat([first, second], axis=1)
        segment_ids = tf.concat([tf.zeros_like(first), tf.ones_like(second)], axis=1)
        lengths = input_ids.row_lengths()
        # An empty batch has no longest row, but the model reads the first position.
        longest = tf.maximum(tf.reduce_max(lengths), 2)
        shape = tf.stack([input_ids.nrows(), longest])
        return {
            "input_ids": input_ids.to_tensor(shape=shape),
            "input_mask": tf.sequence_mask(lengths, longest, tf.int32),
            "segment_ids": segment_ids.to_tensor(shape=shape),
        }

    @staticmethod
    def _once(token: int, times: tf.Tensor) -> tf.RaggedTensor:
        """Returns `token`, 0 or 1 `times` [B], in each row."""
        tokens = tf.fill([tf.reduce_sum(times)], token)
        return tf.RaggedTensor.from_row_lengths(tokens, times, validate=False)


def kept_lengths(
    tokens_a: tf.Tensor, tokens_b: tf.Tensor, max_seq_length: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """`data_pipeline.features.bert.truncated_lengths` in a graph.

    Args:
      tokens_a: int64 [B], tokens of the first texts.
      tokens_b: int64 [B], tokens of the second texts, 0 where there is none.
      max_seq_length: most tokens of an input.

    Returns:
      (kept_a, kept_b): int64 [B] each.
    """
    alone = tf.minimum(tokens_a, max_seq_length - 2)
    room = max_seq_length - 3
    half = tf.constant((room + 1) // 2, tf.int64)  # the first keeps the odd token
    shared_a = tf.minimum(tokens_a, tf.maximum(room - tokens_b, half))
    fits = tokens_a + tokens_b <= room
    kept_a = tf.where(tokens_b == 0, alone, tf.where(fits, tokens_a, shared_a))
    kept_b = tf.where((tokens_b == 0) | fits, tokens_b, room - shared_a)
    return kept_a, kept_b


def _head(rows: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Returns the first `lengths` [B] items of each row."""
    position = tf.ragged.range(rows.row_lengths())
    return tf.ragged.boolean_mask(rows, position < lengths[:, None])


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
    if not task.system.tokenizes_in_graph:
        _save_beside(task, served, answer, folder)
        return
    served.encoder = encoder = TextEncoder(
        tokenization.load_vocab(task.system.vocab_file),
        config.do_lower_case,
        config.max_seq_length,
    )
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
    names = ("start_logits", "end_logits")
    score = word_serving.trace(
        lambda **x: dict(zip(names, model(**x), strict=True)), features
    )
    if not task.system.tokenizes_in_graph:
        _save_beside(task, served, score, folder)
        return
    served.graph = graph = SquadGraph(
        list(tokenization.load_vocab(task.system.vocab_file)),
        task.config.windows(),
        task.answer_config(),
        task.config.language,
    )

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


def _signature(task: ClassificationTask | SpanTask) -> dict[str, tf.TensorSpec]:
    return task.system.encoder_inputs(task.feature_spec.signature())


def _save_beside(task, served, function, folder):
    """Writes a model that reads token ids only, and what makes these of texts."""
    signatures = {TEXTS: function, TOKENS: function}
    tf.saved_model.save(served, folder, signatures=signatures)
    task.save_beside(os.path.join(folder, BESIDE))


def _answer_function(
    task: ClassificationTask, model: keras.layers.Layer, labels: tf.Variable
) -> Callable[..., Outputs]:
    """Returns a function from the model's inputs to what a client is answered.

    Every answer has one row for each text, as TensorFlow Serving's REST API wants it.
    """

    def answer(**features):
        logits = task.can.run(model, features, None)["logits"]
        outputs = task.probabilities(logits)
        if task.config.output_kind == "regression":
            return {"scores": outputs[:, 0]}
        if task.config.output_kind == "multi_label":
            names = tf.broadcast_to(labels, tf.shape(outputs))
            return {"label_names": names, "probabilities": outputs}
        best = tf.gather(labels, tf.argmax(outputs, axis=-1))
        return {"labels": best, "probabilities": outputs}

    return answer


def export_model(
    model_dir: str,
    export_dir: str,
    *,
    use_checkpoint: str = "last",
    dtype: str = "float32",
) -> None:
    """Exports what run_classifier.py, run_squad.py or run_tagger.py trained, and ELMo.

    Signatures: `serving_default` reads `text_a` (and, from a task of pairs, `text_b`),
    or `question` and `context`, string [B]; `token_ids` reads `input_ids`,
    `input_mask` and `segment_ids`, int32 [B, S]. GPT's text rules do not run in a
    graph: both of its signatures read `input_ids` and `input_mask` (`input_ids` is
    [B, S, R] where an example has R sequences). `assets.extra` has the vocabulary, the
    config and the task, from which `load` makes these of texts. All answer with

      one label    `labels` string [B], `probabilities` float32 [B, L]
      multi-label  `label_names` string [B, L], `probabilities` float32 [B, L]
      regression   `scores` float32 [B]

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
        name = read_task_name(folder)
        is_elmo = isinstance(checkpoint.config, ElmoConfig)
        if is_elmo and name is None:
            _export_vectors(checkpoint, _POLICIES[dtype], temporary)
        elif is_elmo and name != TaggingConfig.task_name:
            raise UserError(
                f"--model_dir={model_dir} holds a classifier on ELMo, which has no "
                "export: run_classifier.py --do_predict predicts with it"
            )
        else:
            task = _read_task(model_dir, folder, checkpoint)
            _export_task(task, checkpoint, _POLICIES[dtype], temporary)
    logging.info("%s -> %s (%s)", checkpoint.path, export_dir, dtype)


def _export_task(
    task: EncoderTask, checkpoint: checkpoints.Checkpoint, policy: str, folder: str
) -> None:
    model = task.build_model(dtype=policy, fused=False, seed=0)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    save = {
        ClassificationTask: save_classifier,
        SpanTask: save_span_extractor,
        TaggingTask: save_tagger,
    }[type(task)]
    save(task, model, folder)


def _export_vectors(
    checkpoint: checkpoints.Checkpoint, policy: str, folder: str
) -> None:
    vocab_file = checkpoint.vocab_file
    system = make_system(checkpoint.config, vocab_file, init_checkpoint=checkpoint.path)
    if vocab_file:
        system = system.match_vocabulary()
    elif system.needs_vocabulary:
        raise UserError(f"{checkpoint.path}: there is no vocab.txt beside it")
    model = system.build_encoder(dtype=policy, fused=False, seed=0)
    system.initialize(modeling.named_variables(model), None)
    served, vectors = word_serving.serve_vectors(system, model)
    tf.saved_model.save(served, folder, signatures={TEXTS: vectors})


def _find_folder(model_dir: str, use_checkpoint: str) -> str:
    """Returns the folder of the weights, if there are any."""
    folder = model_dir
    if use_checkpoint == "best":
        folder = os.path.join(model_dir, "best")  # as training/trainer.py names it
    if not tf.io.gfile.isdir(folder) or not (
        tensorflow_files.find_prefix(folder)
        or bilm.find_weights(folder)
        or files.find(folder, elmoformanylangs.ENCODER)
    ):
        raise UserError(
            f"--model_dir={model_dir}: there is no trained checkpoint in {folder}; "
            "wanted an output folder of run_classifier.py, run_squad.py or "
            "run_tagger.py --do_train"
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
