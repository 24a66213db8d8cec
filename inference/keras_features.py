"""A Keras layer from texts to features, for models of one's own: word2bert.layer."""

import base64
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

import checkpoints
import modeling
from errors import UserError
from inference import extraction_config
from inference.extraction_config import ExtractionConfig
from inference.pretrained import Pretrained
from systems.system import System, make_system


@keras.saving.register_keras_serializable("word2bert")
class TextFeatures(keras.layers.Layer):
    """Texts, or ids of their pieces, to the features of an encoder.

    A saved Keras model has all that the layer needs: architecture and vocabulary in
    its config, weights among its weights.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        *,
        pooling: str = "mean",
        layers: Sequence[int] | None = None,
        layer_combination: str | None = None,
        max_seq_length: int = 128,
        ids: bool = False,
        do_lower_case: bool | None = None,
        language: str | None = None,
        **kwargs: Any,
    ):
        """Makes the encoder, with random weights.

        Args:
          files: what System.save_beside writes: names -> contents in base64.
          pooling: as of ExtractionConfig.
          layers: as of ExtractionConfig.
          layer_combination: as of ExtractionConfig.
          max_seq_length: units of the longest input.
          ids: whether the inputs are ids, not texts.
          do_lower_case: of the system.
          language: of the texts, of systems that are told.
          **kwargs: of Keras.

        Raises:
          UserError: the system's texts are not read in a graph; or see
            extraction_config.choose_layers.
        """
        super().__init__(autocast=False, **kwargs)
        # As keras.layers.TextVectorization: texts are no tensors of Keras's.
        self._convert_input_args, self._allow_non_tensor_positional_args = False, True
        self.supports_jit = False  # XLA knows no strings
        self._files, self._ids, self._language = dict(files), ids, language
        self._lower = do_lower_case
        self._wanted = ExtractionConfig(
            pooling=pooling,
            layers=layers and tuple(layers),
            layer_combination=layer_combination or "concat",
            max_seq_length=max_seq_length,
        )
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(base64.b64decode(content))
            system = self._system(folder)
            self._layers_read = extraction_config.choose_layers(self._wanted, system)
            self._source = system.need("extracts")
            self._read = self._reader()
        shape = extraction_config.row_shape(
            self._wanted, self._layers_read, system.hidden_size
        )
        self.width = shape[-1]
        self.encoder = system.build_encoder(dtype="float32", fused=False)
        self._seeds = keras.random.SeedGenerator(0)
        self.built = True
        self.encoder.trainable = self.trainable
        if self.trainable:
            self._freeze_unread()

    def _system(self, folder: str) -> System:
        beside = checkpoints.read_beside(folder)
        system = make_system(beside["config"], beside["vocab_file"], self._lower)
        return system.in_language(self._language)

    def _reader(self):
        if self._ids:
            return self._source.read_ids
        found = self._source.text_reader(self._wanted.max_seq_length)
        if found is None:
            raise UserError(
                f"texts of {self._source.system.model_type} are not read in a graph, "
                "where Keras's layers work: give ids=True, and the layer what "
                "token_ids of word2bert.load makes of texts"
            )
        return found

    def _freeze_unread(self):
        """Leaves to Keras no variables that features do not come from, as a pooler."""
        one = tf.constant([[0]]) if self._ids else tf.constant(["a"])
        variables = self.encoder.trainable_variables
        with tf.GradientTape() as tape:
            features = self(one)
        gradients = tape.gradient(features, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.trainable = gradient is not None

    @property
    def compute_dtype(self) -> str:
        """The type of the inputs, for Keras's Sequential."""
        return "int32" if self._ids else "string"

    @property
    def variable_dtype(self) -> str:
        """The same: Keras casts where they differ. The encoder has its own."""
        return self.compute_dtype

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Computes features.

        Args:
          inputs: string [B]; or int [B, S], ids, below 0 behind the end of a text.
          training: whether there is dropout, in an encoder that is trained.

        Returns:
          float32 [B, width]; with pooling "none" [B, S, width], zeros behind the end.
        """
        inputs = tf.convert_to_tensor(inputs, tf.int32 if self._ids else tf.string)
        if not self._ids:
            inputs = tf.reshape(inputs, [-1])  # [B, 1] as well
        if training and self.trainable:
            seed = tf.cast(self._seeds.next(), tf.int32)
            found = _with_dense_gradients(lambda: self._features(inputs, seed))
        else:
            found = self._features(inputs, None)
        return tf.ensure_shape(found, self._shape(inputs.shape[0]))

    def _features(self, inputs, seed):
        batch, counts = self._read(inputs)
        outputs, _ = self._source.layer_outputs(self.encoder, batch, dropout_seed=seed)
        chosen = [outputs[i] for i in self._layers_read]
        return extraction_config.pooled(chosen, counts, self._wanted)

    def _shape(self, batch):
        units = [None] if self._wanted.pooling == "none" else []
        return [batch, *units, self.width]

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """Returns the shape of the features, without looking at any text."""
        return keras.KerasTensor(self._shape(inputs.shape[0]), "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        wanted = self._wanted
        return {
            **super().get_config(),
            "files": self._files,
            "pooling": wanted.pooling,
            "layers": wanted.layers,
            "layer_combination": wanted.layer_combination,
            "max_seq_length": wanted.max_seq_length,
            "ids": self._ids,
            "do_lower_case": self._lower,
            "language": self._language,
        }


def _with_dense_gradients(function):
    """Calls a function, whose variables then have gradients of their own shape.

    Keras's optimizers take rows of a gradient that are there twice, as those of a word
    that a text has twice, for one, and their moments are wrong.
    """

    @tf.custom_gradient
    def call():
        with tf.GradientTape() as tape:
            result = function()

        def gradients(upstream, variables=()):
            found = tape.gradient(result, variables, output_gradients=upstream)
            return [], [None if g is None else tf.convert_to_tensor(g) for g in found]

        return result, gradients

    return call()


def make(
    path: str,
    trainable: bool = False,
    *,
    layers: Sequence[int] | None = None,
    pooling: str = "mean",
    layer_combination: str | None = None,
    max_seq_length: int | None = None,
    ids: bool = False,
    name: str | None = None,
    **options: Any,
) -> TextFeatures:
    """Makes the layer, with the weights of a model.

    Args:
      path: as of Pretrained.
      trainable: whether Keras trains the encoder, too.
      layers: of the encoder, -1 is the last; None: the last.
      pooling: "mean", "max", "mean_max", "first", "last" or "cls"; "none": features of
        every unit, zeros behind the end of a text.
      layer_combination: of several layers: "concat", the default, or "mean".
      max_seq_length: units of the longest input; longer ones are cut. None: what the
        model can read, 512 without a limit.
      ids: whether it reads int [B, S], see Pretrained.token_ids, instead of texts.
      name: of the layer.
      **options: as of Pretrained.

    Raises:
      UserError: no such model; its texts are not read in a graph; no such layers.
    """
    opened = Pretrained(path, **options)
    if "encode" not in opened.can:
        opened.encode("")  # refuses
    if isinstance(layers, int):
        layers = (layers,)
    system = opened.system
    made = TextFeatures(
        _files_of(system),
        pooling=pooling,
        layers=layers or (-1,),
        layer_combination=layer_combination,
        max_seq_length=max_seq_length or opened.longest,
        ids=ids,
        do_lower_case=system.do_lower_case,
        language=options.get("language"),
        trainable=trainable,
        name=name,
    )
    system.initialize(modeling.named_variables(made.encoder), None)
    return made


def _files_of(system: System) -> dict[str, str]:
    """Returns what a folder of the system has beside weights, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        system.save_beside(folder)
        found = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = base64.b64encode(file.read()).decode("ascii")
        return found
