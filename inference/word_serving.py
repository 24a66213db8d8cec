"""SavedModels that read sentences of words: taggers, and encoders of words.

A batch of sentences is string [B, T], a word an element, "" where there is none.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.features import tagging_graph
from data_pipeline.readers import tag_schemes
from errors import UserError
from systems.system import System
from tasks.tagging import TaggingTask

WORDS = "words"  # the input
_WORDS = {WORDS: tf.TensorSpec([None, None], tf.string, WORDS)}


def trace(function, inputs):
    """Returns a function of tensors as a graph."""
    return tf.function(function, autograph=False).get_concrete_function(**inputs)


def tag_decoder(model: keras.layers.Layer) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns a function from what a tagger's records hold to `tag_ids`, int32."""

    def decode(word_positions, **inputs):
        scores = model(inputs, word_positions)
        return {"tag_ids": model.tagger.decode(scores, word_positions)}

    return decode


def serve_tagger(
    task: TaggingTask, model: keras.layers.Layer
) -> tuple[tf.Module, tf.types.experimental.ConcreteFunction, ...]:
    """Makes what the SavedModel of a trained tagger holds.

    Args:
      task: labels, longest row and schemes.
      model: its trained model.

    Returns:
      A module with `labels`, string [K], all tags that there can be; the function of
      words, or None where words are not read in a graph: `tags` string [B, T], in the
      scheme of the training's files, "" where there is no word; and the function of
      token ids: `tag_ids` int32 [R, V], -1 on padding.
    """
    config = task.config
    served = tf.Module()
    found = tag_schemes.scheme_tags(np.array(config.labels, object), config.tag_scheme)
    served.labels = tf.Variable(np.array(found, object), trainable=False)
    # The model itself would bring Keras's bookkeeping along.
    served.weights = [variable.value for variable in model.variables]

    decode = trace(tag_decoder(model), task.feature_spec.signature())
    reader = task.system.word_reader(config.max_seq_length)
    if reader is None:
        return served, None, decode
    names = tagging_graph.TagNames(config.labels, config.tag_scheme)
    served.tracked = reader.tracked

    def tag(words):
        sentences = tagging_graph.Sentences(words)
        rows = reader(sentences)
        tags = decode(**rows)["tag_ids"]
        tags = tf.boolean_mask(tags, rows["word_positions"] > 0)
        return {"tags": sentences.padded(names(tags, sentences))}

    return served, trace(tag, _WORDS), decode


def serve_vectors(
    system: System, model: keras.layers.Layer
) -> tuple[tf.Module, tf.types.experimental.ConcreteFunction]:
    """Makes what the SavedModel of an encoder of words holds.

    Args:
      system: of the model; its Extracts has `words_in_graph`.
      model: with its weights.

    Returns:
      A module, and the function of words: `vectors` float32 [B, T, layers, width], of
      each word all layers; 0 where there is no word. The same sentence always has the
      same vectors.
    """
    extracts, reader = system.need("extracts"), system.word_reader()
    served = tf.Module()
    served.weights = [variable.value for variable in model.variables]
    served.tracked = reader.tracked

    def vectors(words):
        sentences = tagging_graph.Sentences(words)
        rows = reader(sentences)
        layers, _ = extracts.layer_outputs(model, rows)
        real = rows["word_positions"] > 0
        found = tf.boolean_mask(tf.stack(layers, axis=2), real)
        return {"vectors": sentences.padded(found)}

    return served, trace(vectors, _WORDS)


class WordPredictor:
    """A loaded export that reads sentences of words.

    Attributes:
      labels: all tags that there can be; () of vectors.
    """

    def __init__(self, model: tf.Module, signature: str, labels: Sequence[str]):
        """Takes a loaded SavedModel."""
        # Held: the signature does not keep its variables alive.
        self._model, self._signature = model, model.signatures[signature]
        self.labels = tuple(labels)

    def predict(
        self, sentences: Sequence[Sequence[str]], batch_size: int = 32
    ) -> dict[str, list]:
        """Tags sentences, or computes the vectors of their words.

        Args:
          sentences: N lists of words.
          batch_size: sentences of about one length that are computed together.

        Returns:
          `tags`: a list of tags for each sentence; or `vectors`: an array [words,
          layers, width] for each.

        Raises:
          UserError: no sentences, or one that is no list of words.
        """
        check_sentences(sentences)
        order = np.argsort([len(words) for words in sentences], kind="stable")
        found = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = [sentences[row] for row in rows]
            for name, values in self._signature(words=_padded(batch)).items():
                found.setdefault(name, [None] * len(sentences))
                for row, value in zip(rows, values.numpy(), strict=True):
                    found[name][row] = _of_words(value[: len(sentences[row])])
        return found


def check_sentences(sentences: Sequence[Sequence[str]]) -> None:
    """Raises UserError where there are none, or one is no list of words."""
    if not len(sentences):
        raise UserError("there are no sentences to predict")
    for i, words in enumerate(sentences):
        if not isinstance(words, list | tuple) or not all(
            isinstance(word, str) and word for word in words
        ):
            raise UserError(
                f"sentence {i}: got {words!r}, but the model wants a list of words, "
                "none of them empty"
            )


def _padded(sentences):
    """String [B, T]; of sentences without words one column."""
    longest = max(1, *map(len, sentences))
    rows = [[*words, *[""] * (longest - len(words))] for words in sentences]
    return tf.constant(rows, tf.string)


def _of_words(values):
    if values.dtype.kind in "OS":
        return [value.decode() for value in values]
    return values
