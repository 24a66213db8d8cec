"""What systems share that cut words into pieces: how they tag, and read lines."""

import abc
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Batch
from data_pipeline.features import lines
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import (
    TAGGING_SPEC,
    SpecialIds,
    TaggingColumns,
    tagging_columns,
)
from data_pipeline.features.tokens import special_id
from data_pipeline.readers.conll import TaggedText
from errors import UserError
from systems.capabilities import Extracts, Line, Tags, TextReader


class TagsPieces(Tags):
    """Tags words by one of the pieces that each is cut into.

    Attributes:
      reads_left_to_right: whether a piece's output has seen none of those after it: a
        word's is then its last piece's, else its first one's.
    """

    spec = TAGGING_SPEC
    reads_left_to_right: ClassVar[bool] = False

    @abc.abstractmethod
    def special_ids(self, tokenizer) -> SpecialIds:
        """Returns what stands around a sentence of words, and for unknown words."""

    def columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """Tokenizes words, cuts long sentences and lays out a data set."""
        tokenizer = self.system.tokenizer()
        return tagging_columns(
            text,
            tag_ids,
            tokenizer,
            self.special_ids(tokenizer),
            max_seq_length,
            self.reads_left_to_right,
        )


class ReadsPieces(Extracts):
    """Lines in the pieces of a tokenizer, as BERT and GPT read them."""

    default_layers = (-1, -2, -3, -4)  # the parent's

    @abc.abstractmethod
    def layout(self, tokenizer) -> Layout:
        """Returns what the encoder alone reads around texts."""

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The system's."""
        return self.system.tokenizer()

    @functools.cached_property
    def _pieces(self):
        return {i: piece for piece, i in self.tokenizer.vocab.items()}

    @functools.cached_property
    def _layout(self):
        return self.layout(self.tokenizer)

    def check_length(self, max_seq_length: int, in_windows: bool) -> None:
        shortest = 5 if in_windows else 3
        name, longest = self.system.max_length or (None, math.inf)
        if not shortest <= max_seq_length <= longest:
            wanted = f"to {longest}, the model's {name}" if name else "or more"
            raise UserError(
                f"--max_seq_length={max_seq_length}; wanted {shortest} {wanted}"
            )

    def lines(
        self, texts: Sequence[str], max_seq_length: int, in_windows: bool
    ) -> Sequence[Line]:
        return lines.to_sentences(
            texts, self.tokenizer, max_seq_length, in_windows, self._layout
        )

    def unknown_id(self, tokenizer) -> int:
        """Returns the id of what is not in the vocabulary."""
        return special_id(tokenizer, "[UNK]")

    def lines_of_units(
        self, texts: Sequence[Sequence[str]], max_seq_length: int
    ) -> Sequence[Line]:
        vocab, unknown = self.tokenizer.vocab, self.unknown_id(self.tokenizer)
        return lines.of_pieces(texts, vocab, unknown, max_seq_length, self._layout)

    def units_of_ids(self, ids: Sequence[int]) -> list[str]:
        wrong = [i for i in ids if i not in self._pieces]
        if wrong:
            raise UserError(f"id {wrong[0]} is not one of the vocabulary's")
        return [self._pieces[i] for i in ids]

    def tokens(self, line: Line) -> Sequence[str]:
        return [self._pieces[i] for i in line.input_ids.tolist()]

    def batch(
        self, rows: Sequence[tuple[Line, np.ndarray]], length: int
    ) -> dict[str, np.ndarray]:
        names = ("input_ids", "input_mask", "segment_ids")
        found = {name: np.zeros((len(rows), length), np.int32) for name in names}
        for i, (line, window) in enumerate(rows):
            found["input_ids"][i, : len(window)] = line.input_ids[window]
            found["input_mask"][i, : len(window)] = 1
            found["segment_ids"][i, : len(window)] = line.segment_ids[window]
        return found

    def cut(
        self, sentences: Sequence[Sequence[str]]
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        for words in sentences:
            flat, offsets = self.tokenizer.ids(list(words))
            sizes = np.diff(offsets)
            # Control characters alone, for example, leave no piece.
            unknown = self.unknown_id(self.tokenizer)
            flat = np.insert(flat, offsets[:-1][sizes == 0], unknown)
            yield self.units_of_ids(flat.tolist()), np.maximum(sizes, 1)

    def text_reader(self, max_seq_length: int) -> TextReader | None:
        encode = self.system.text_encoder(max_seq_length)
        if encode is None:
            return None

        def read(texts):
            batch = encode(texts)
            return batch, batch["input_mask"]

        return read

    def read_ids(self, ids: tf.Tensor) -> tuple[Batch, tf.Tensor]:
        mask = tf.cast(ids >= 0, tf.int32)
        batch = {"input_ids": tf.maximum(ids, 0), "input_mask": mask}
        return {**batch, "segment_ids": tf.zeros_like(ids)}, mask

    def layer_outputs(
        self,
        model: keras.layers.Layer,
        batch: Batch,
        states: Any = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[Sequence[tf.Tensor], Any]:
        inputs = self.system.encoder_inputs(batch)
        outputs = model(**inputs, dropout_seed=dropout_seed)
        return outputs["all_encoder_layers"], states
