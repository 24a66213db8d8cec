"""Writes on from prompts, one token after the other, at a cost linear in their number.

prompts -> batches -> what the model keeps of a prompt -> token -> what it keeps ...

What is kept is for the model to say: keys and values, or the state of an LSTM.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from errors import UserError
from modeling.layers import sampling

_ENDED = -1  # stands for the tokens behind the end of a text
_ANY_LENGTH = ("positions", 2**31 - 1)  # as far as int32 goes


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How texts are written.

    Attributes:
      max_new_tokens: the longest text, without its prompt.
      temperature: divides the scores; 0 = always the best token.
      top_k: tokens that may be chosen; 0 = all.
      top_p: share of the probability that those which may be chosen cover.
      seed: with a text's number and a token's position it decides the token.
      batch_size: texts written at a time.

    Raises:
      UserError: an impossible value.
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 8

    def __post_init__(self):
        limits = {
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "temperature": (0 <= self.temperature < float("inf"), "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "more than 0, at most 1"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
        }
        for name, (fits, wanted) in limits.items():
            if not fits:
                raise UserError(f"--{name}={getattr(self, name)}; wanted {wanted}")


class LanguageModel(Protocol):
    """What predicts the next token and keeps what later ones need of those before.

    Attributes:
      max_length: the longest sequence, after the name that the config has for it;
        None: any length can be read.
      num_tokens: rows of the softmax that are text; those after them are not.
    """

    max_length: tuple[str, int] | None
    num_tokens: int

    def initial_cache(self, batch_size: int, length: int) -> Any:
        """Returns what is kept before the first token, of `length` tokens at most."""

    def cache_spec(self) -> Any:
        """Returns the tf.TensorSpecs of the cache of any batch and length."""

    def step(
        self, input_ids: tf.Tensor, cache: Any, position: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Reads on.

        Args:
          input_ids: int [B, T], tokens, filled up behind the end of a row.
          cache: as the step before left it.
          position: int [B], of the first of these tokens in its sequence.
          lengths: int [B], how many of the T tokens are a row's own. What is behind
            them must change nothing of what later steps return.

        Returns:
          Hidden [B, T, E], of which only a row's own places are looked at; the cache.
        """

    def lm_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Returns the scores, float32 [M, V], of what comes after hidden [M, E]."""


class Generator:
    """Continues sequences of tokens."""

    def __init__(
        self,
        model: LanguageModel,
        config: GenerationConfig,
        stop_id: int | None = None,
        never: Sequence[int] = (),
    ):
        """Traces nothing yet.

        Args:
          model: the language model.
          config: see GenerationConfig.
          stop_id: the token that ends a text and is no part of it; None = nothing does.
          never: tokens that are never chosen.

        Raises:
          UserError: `max_new_tokens` leaves no room for a prompt.
        """
        self._max_length = name, longest = model.max_length or _ANY_LENGTH
        if config.max_new_tokens >= longest:
            raise UserError(
                f"--max_new_tokens={config.max_new_tokens}; wanted less than {name}="
                f"{longest}, the model's longest sequence, which a prompt is part of"
            )
        self.config = config
        self._model = model
        self._stop_id = _ENDED if stop_id is None else stop_id
        self._allowed = np.zeros([model.num_tokens], np.float32)
        self._allowed[list(never)] = -np.inf
        ids, count = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)
        row = tf.TensorSpec([None], tf.int32)
        cache = model.cache_spec()
        # Any number of rows and any length is one graph; autograph has nothing to do.
        self._start = tf.function(
            self._start_eager, input_signature=[ids, row, row], autograph=False
        )
        self._extend = tf.function(
            self._extend_eager,
            input_signature=[row, row, row, cache, count],
            autograph=False,
        )

    def generate(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Continues every prompt.

        Args:
          prompts: tokens, at least one each; the longest ones lose their beginning, so
            that prompt and text have room in the longest sequence; a warning says how
            many do.

        Yields:
          The new tokens of each prompt, in the order of the prompts.

        Raises:
          UserError: an empty prompt; names its number.
        """
        prompts = self._cut(prompts)
        for first in range(0, len(prompts), self.config.batch_size):
            batch = prompts[first : first + self.config.batch_size]
            chunks = self._chunks(batch, first, self.config.max_new_tokens)
            for row in np.concatenate(list(chunks), axis=1):
                yield row[row != _ENDED].tolist()

    def stream(self, prompt: Sequence[int]) -> Iterator[int]:
        """Continues one prompt, as `generate` would.

        Yields:
          Each token as soon as it is chosen.
        """
        for chunk in self._chunks(self._cut([prompt]), 0, 1):
            if chunk[0, 0] != _ENDED:
                yield int(chunk[0, 0])

    def _cut(self, prompts):
        name, longest = self._max_length
        room = longest - self.config.max_new_tokens
        for number, prompt in enumerate(prompts):
            if not len(prompt):
                raise UserError(f"prompt {number + 1} has no token to start from")
        long = [len(prompt) - room for prompt in prompts if len(prompt) > room]
        if long:
            logging.warning(
                "%d of %d prompts lost their beginning, %d tokens in all: %s=%d "
                "less --max_new_tokens=%d leaves room for %d",
                len(long),
                len(prompts),
                sum(long),
                name,
                longest,
                self.config.max_new_tokens,
                room,
            )
        return [list(prompt)[-room:] for prompt in prompts]

    def _chunks(self, prompts, first, size) -> Iterator[np.ndarray]:
        """Yields int32 [B, at most `size`], the new tokens, until all texts end."""
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        ids = np.zeros([len(prompts), lengths.max()], np.int32)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        rows = tf.range(first, first + len(prompts))
        token, cache = self._start(ids, lengths, rows)
        yield token.numpy()[:, None]
        position, left = tf.constant(lengths), self.config.max_new_tokens - 1
        while left > 0 and np.any(token.numpy() != _ENDED):
            count = min(size, left)
            new, token, cache = self._extend(token, position, rows, cache, count)
            yield new.numpy()
            position, left = position + count, left - count

    def _start_eager(self, ids, lengths, rows):
        """Reads the prompts [B, T]; returns the first new token [B] and the cache."""
        batch, longest = tf.unstack(tf.shape(ids))
        room = longest + self.config.max_new_tokens - 1  # the last token is not read
        cache = self._model.initial_cache(batch, room)
        hidden, cache = self._model.step(ids, cache, tf.zeros_like(lengths), lengths)
        last = tf.gather(hidden, lengths - 1, batch_dims=1)
        return self._choose(last, lengths, rows), cache

    def _extend_eager(self, token, position, rows, cache, count):
        """Reads a token of each row and chooses the next, up to `count` times."""

        def unfinished(step, token, *_):
            return (step < count) & tf.reduce_any(token != _ENDED)

        def advance(step, token, cache, chosen):
            read = tf.maximum(token, 0)[:, None]
            hidden, cache = self._model.step(read, cache, position + step, one)
            new = self._choose(hidden[:, 0], position + step + 1, rows)
            new = tf.where(token == _ENDED, _ENDED, new)
            return step + 1, new, cache, chosen.write(step, new)

        one = tf.ones_like(position)
        chosen = tf.TensorArray(tf.int32, count, element_shape=[None])
        start = (tf.constant(0), token, cache, chosen)
        steps, token, cache, chosen = tf.while_loop(unfinished, advance, start)
        return tf.transpose(chosen.stack()[:steps]), token, cache

    def _choose(self, hidden, position, rows):
        """Draws the tokens [B] at `position` [B] from hidden [B, E]."""
        logits = self._model.lm_logits(hidden)[:, : self._model.num_tokens]
        logits += self._allowed
        config = self.config
        # Of its own for every text and position, whatever the batch.
        numbers = tf.cast(rows, tf.int64) * self._max_length[1]
        numbers += tf.cast(position, tf.int64)
        seeds = tf.stack(
            [tf.fill(tf.shape(numbers), np.int64(config.seed)), numbers], 1
        )
        token = sampling.sample(
            logits, seeds, config.temperature, config.top_k, config.top_p
        )
        return tf.where(token == self._stop_id, _ENDED, token)
