"""Word vectors under a task, which reads them by one of three networks.

    mean    the mean of the vectors, and a linear layer
    cnn     100 convolutions each over 3, 4 and 5 words, a ReLU, the highest value of
            each over the text, dropout, a linear layer (Kim 2014, sections 2 and 3.1)
    lstm    one LSTM in each direction, the highest value of each of its outputs over
            the words, as it is under ELMo (`elmo_classifier`)

A tagger has the LSTM, as under ELMo (`elmo_reader`). With two channels (Kim, section
3.1) the convolutions read two copies of the vectors, one of which stays as it is. Left
out of Kim's training: the limit on the norms of the last layer's weights.
"""

# B batch, S = T + 2 words with <S> and </S>, D width of a vector.

import dataclasses

import keras
import tensorflow as tf

import word_rules
from errors import UserError
from modeling import config_files
from modeling.layers import base, char_cnn, dropout, heads, initial, pooling, recurrent

SCOPE = "vectors"
NUM_MARKS = 3  # <S>, </S>, <UNK>: the first rows
_CHOICES = {
    "reader": ("mean", "cnn", "lstm"),
    "channels": (1, 2),
}
READERS, CHANNELS = _CHOICES.values()
_WIDTHS, _FILTERS = (3, 4, 5), 100  # Kim's
_UNITS = 128  # of the LSTM in each direction, as under ELMo
DROPOUT_RATE = 0.5  # Kim's, and ELMo's around its LSTM


@dataclasses.dataclass(frozen=True)
class VectorsConfig(config_files.OwnConfig):
    """The architecture, read from and written to vectors_config.json.

    Attributes:
      vocab_size: int, words that have a vector, `<S>`, `</S>` and `<UNK>` among them;
        None of a model that is still to begin.
      text_words: int, how many of them, the first ones, the training text had: these
        are fine-tuned, the others never.
      vector_size: int, D; None: that of the vectors it begins with, 100 without.
      reader: "mean", "cnn" or "lstm", under a classifier.
      channels: 1, or with "cnn" 2.
      tokenizer: what finds the words of a text, see word_rules.
      segmenter: what finds them in Chinese.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "word vectors'"
    model_type = "vectors"

    vocab_size: int | None = None
    text_words: int | None = None
    vector_size: int | None = None
    reader: str = "mean"
    channels: int = 1
    tokenizer: str | None = None
    segmenter: str | None = None

    def __post_init__(self):
        word_rules.of(self)
        for key, known in _CHOICES.items():
            value = getattr(self, key)
            if isinstance(value, bool) or value not in known:
                wanted = " or ".join(map(str, known))
                raise UserError(f"{key} is {value!r}, wanted {wanted}")
        if self.channels > 1 and self.reader != "cnn":
            raise UserError(
                f"channels is {self.channels}, which reader cnn has, not {self.reader}"
            )
        sizes = ("vocab_size", "text_words", "vector_size")
        for key in sizes:
            if getattr(self, key) is not None:
                config_files.check_value(key, getattr(self, key), config_files.COUNT)
        if None in (self.vocab_size, self.text_words, self.vector_size):
            return
        if not NUM_MARKS <= self.text_words <= self.vocab_size:
            raise UserError(
                f"text_words is {self.text_words}, wanted {NUM_MARKS} to vocab_size, "
                f"{self.vocab_size}"
            )
        config_files.check_tables(self, ("vocab_size", "vector_size"))


class VectorsModel(base.Model):
    """The vectors of words: the scope `vectors`.

    They are in several tables, so that a training moves no more than it has seen, and
    its optimizer keeps no state for the others.

    Args:
      config: the architecture, with its sizes.
      name: str.
      **kwargs: see `base.Layer`.
    """

    config_class = VectorsConfig

    def __init__(self, config: VectorsConfig, *, name: str = SCOPE, **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.build()

    def build(self, input_shape=None):
        """Makes the tables.

        `marks` [3, D] is always trained; `words` are those of the training text,
        `others` the rest; `frozen_words` are the second channel of `words`. A table
        that would have no rows is not there.
        """
        config = self.config
        of_text = config.text_words - NUM_MARKS
        rest = config.vocab_size - config.text_words
        # As TagLM's, after Ma and Hovy (2016).
        draw = initial.uniform((3 / config.vector_size) ** 0.5)
        self.marks = self.add_normal("marks", [NUM_MARKS, config.vector_size], draw)
        self.words = self.frozen_words = self.others = None
        if of_text:
            self.words = self.add_normal("words", [of_text, config.vector_size], draw)
        if of_text and config.channels == 2:
            self.frozen_words = self.add_constant("frozen_words", self.words.shape, 0.0)
        if rest:
            self.others = self.add_constant("others", [rest, config.vector_size], 0.0)

    def call(self, input_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Looks words up.

        Args:
          input_ids: int [B, S]: places in the vocabulary, moved up by one, `<S>` first
            and `</S>` last; 0 = padding.

        Returns:
          `vectors` float32 [B, T, channels x D], of the words between the two marks,
          zero behind them; `mask` int32 [B, T], 1 = a word.
        """
        number = tf.math.count_nonzero(input_ids, axis=1, dtype=tf.int32)
        places = input_ids[:, 1:-1] - 1
        mask = tf.sequence_mask(number - 2, tf.shape(places)[1], tf.int32)
        channels = [self._look_up(places, self.words)]
        if self.config.channels == 2:
            channels.append(self._look_up(places, self.frozen_words))
        vectors = tf.concat(channels, axis=-1)
        return {
            "vectors": vectors * tf.cast(mask, tf.float32)[..., None],
            "mask": mask,
        }

    def _look_up(self, places, words):
        """Gathers from the tables: int [B, T] -> float32 [B, T, D]."""
        x = _rows(self.marks, places)
        for table, first in (
            (words, NUM_MARKS),
            (self.others, self.config.text_words),
        ):
            if table is not None:
                here = (places >= first)[..., None]
                x = tf.where(here, _rows(table, places - first), x)
        return x


def _rows(table, places):
    """Gathers rows; of a place outside the table, any."""
    inside = tf.clip_by_value(places, 0, table.shape[0] - 1)
    return tf.gather(tf.convert_to_tensor(table), inside)


class VectorsReader(base.Layer):
    """The vectors, and a bidirectional LSTM on them in the reader's scope.

    Args:
      config: the architecture.
      **kwargs: see `base.Layer`; `name` is that of the head which reads the words.
    """

    width = 2 * _UNITS

    def __init__(self, config: VectorsConfig, **kwargs):
        super().__init__(**kwargs)
        self.model = VectorsModel(config, **self.inherit(SCOPE))
        self.rnn = recurrent.Bidirectional(
            "lstm", _UNITS, DROPOUT_RATE, **self.inherit("rnn")
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `rnn`."""
        config = self.model.config
        self.rnn.build([None, None, config.channels * config.vector_size])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Reads sentences.

        Args:
          input_ids: int [B, S], see `VectorsModel.call`.
          input_mask: int [B, S]; not read, since padding has the id 0.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output` float32 [B, S, width], zero at the first `<S>`, the last
          `</S>` and padding.
        """
        del input_mask
        found = self.model(input_ids)
        lengths = tf.reduce_sum(found["mask"], axis=1)
        x = self.rnn(found["vectors"], lengths, dropout_seed)
        return {"sequence_output": tf.pad(x, [[0, 0], [1, 1], [0, 0]])}


class VectorsClassifier(base.Model):
    """The vectors under the head `classifier`.

    Args:
      config: the architecture.
      num_outputs: int.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    config_class = VectorsConfig

    def __init__(
        self,
        config: VectorsConfig,
        num_outputs: int,
        *,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.num_outputs = num_outputs
        self.model = VectorsModel(config, **self.inherit(SCOPE))
        kind = {"mean": Mean, "cnn": Convolutions, "lstm": HighestStates}[config.reader]
        self.reader = kind(**self.inherit("classifier"))
        self.outputs = heads.OutputProjection(num_outputs, **self.inherit("output"))
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `classifier`."""
        width = self.config.channels * self.config.vector_size
        self.reader.build([None, None, width])
        with keras.name_scope("classifier"):
            self.outputs.build([None, self.reader.width])
        self.site = dropout.site_id("classifier")

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"num_outputs": self.num_outputs}

    def call(
        self, input_ids: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Classifies.

        Args:
          input_ids: int [B, S], see `VectorsModel.call`.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `logits` float32 [B, num_outputs].
        """
        found = self.model(input_ids)
        x = self.reader(found["vectors"], found["mask"], dropout_seed)
        x = dropout.dropout(x, self.reader.dropout_rate, dropout_seed, self.site)
        return {"logits": self.outputs(x)}


class Mean(base.Layer):
    """The mean of a text's vectors.

    Attributes:
      width: of what `call` returns; known once it is built.
      dropout_rate: on it.
    """

    dropout_rate = 0.0

    def build(self, input_shape):
        """Makes nothing."""
        self.width = input_shape[-1]

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Maps float32 [B, T, I], zero where int [B, T] `mask` is, to [B, width]."""
        del dropout_seed
        return pooling.pool(x, mask, "mean")


class Convolutions(base.Layer):
    """Kim's: each filter's highest value over a text; see `Mean`."""

    dropout_rate = DROPOUT_RATE
    width = len(_WIDTHS) * _FILTERS

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        sizes = [(width, _FILTERS) for width in _WIDTHS]
        self.cnn = char_cnn.Filters(sizes, "relu", **self.inherit("CNN"))

    def build(self, input_shape):
        """Makes the variables of `CNN`."""
        self.cnn.build(input_shape)

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `Mean.call`; zeros stand around a text, as in Kim's program."""
        del mask, dropout_seed
        # One window of zeros for every width, whatever stands behind other texts.
        around = max(_WIDTHS)
        return self.cnn(tf.pad(x, [[0, 0], [around, around], [0, 0]]))


class HighestStates(base.Layer):
    """The highest value of each output of a bidirectional LSTM; see `Mean`."""

    dropout_rate = DROPOUT_RATE
    width = 2 * _UNITS

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rnn = recurrent.Bidirectional(
            "lstm", _UNITS, DROPOUT_RATE, **self.inherit("rnn")
        )

    def build(self, input_shape):
        """Makes the variables of `rnn`."""
        self.rnn.build(input_shape)

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `Mean.call`."""
        x = self.rnn(x, tf.reduce_sum(mask, axis=1), dropout_seed)
        return pooling.pool(x, mask, "max")
