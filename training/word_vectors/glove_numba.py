"""AdaGrad over co-occurrences, one after the other, compiled by numba."""

import concurrent.futures

import numpy as np

from modeling import glove
from training.word_vectors import compiled
from training.word_vectors.loop import Array

# Into how many groups words are put, and contexts too; also the most threads of use.
GROUPS = 8
_FEWEST = 1 << 12  # pairs that are worth it; fewer are trained in their own order


class Engine:
    """Trains the tables on several threads, to the same values for any number of them.

    Words are put into groups by their ranks, and so are contexts; pairs of different
    groups of both have no row in common. So the pairs of a round are parted by the
    difference of their groups, one difference after the other; what each of those has
    in the words' groups is trained at the same time (Gemulla et al. 2011). It is also
    faster on one thread, whose cache holds more of the rows that it needs.

    Attributes:
      variables: see glove.Engine.
    """

    def __init__(
        self,
        model: glove.GloveModel,
        learner,
        threads: int,
        frozen: tuple[np.ndarray, np.ndarray],
    ):
        """Copies the tables.

        Args:
          model: built; it is left as it is.
          learner: the training.word_vectors.glove.Glove. Where it is `exact`, pairs are
            trained in their own order.
          threads: how many to use.
          frozen: see glove.Engine.
        """
        tables = [model.words.numpy(), model.contexts.numpy()]
        tables += [np.ones_like(table) for table in tables]
        names = ("words", "contexts", "word_squares", "context_squares")
        self.variables = {
            f"glove/{name}": Array(table)
            for name, table in zip(names, tables, strict=True)
        }
        self._tables = tuple(array.value for array in self.variables.values())
        rates = [np.full(len(tables[0]), learner.eta, tables[0].dtype) for _ in frozen]
        for rate, rows in zip(rates, frozen, strict=True):
            rate[: len(rows)][rows] = 0
        others = learner.x_max, learner.alpha, glove.CLIP
        self._rates = (*rates, *map(tables[0].dtype.type, others))
        self._in_order = learner.exact
        self._threads = concurrent.futures.ThreadPoolExecutor(threads)

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()

    def train(self, pairs) -> float:
        """Makes an update for each pair; see glove.Engine."""
        in_order = self._in_order or len(pairs.word) < _FEWEST
        groups = 1 if in_order else GROUPS
        word_group = pairs.word % groups
        part = (pairs.context - word_group) % groups * groups + word_group
        order = np.argsort(part.astype(np.uint8), kind="stable")
        pairs = [column[order] for column in pairs]
        ends = np.cumsum(np.bincount(part, minlength=groups**2)).tolist()
        starts = [0, *ends[:-1]]

        def train_part(number):
            place = slice(starts[number], ends[number])
            columns = [column[place] for column in pairs]
            return _train(*columns, *self._tables, self._rates)

        cost = 0.0
        for difference in range(groups):
            parts = range(difference * groups, (difference + 1) * groups)
            cost += sum(self._threads.map(train_part, parts))
        return cost


@compiled.jit(fastmath=True)
def _train(
    word, context, count, words, contexts, word_squares, context_squares, rates
) -> float:
    """Makes one update for each pair, in order; other threads may use other rows.

    Args:
      word: int32 [N], i.
      context: int32 [N], j.
      count: float [N], X_ij.
      words: float [V, D + 1], the model's; changed.
      contexts: float [V, D + 1], the model's; changed.
      word_squares: float [V, D + 1], 1 and AdaGrad's sums of squares; changed.
      context_squares: float [V, D + 1], 1 and AdaGrad's sums of squares; changed.
      rates: eta of each word's and of each context's vector, float [V]; x_max, alpha
        and the clip of gradients; of the tables' dtype.

    Returns:
      The sum of the pairs' costs, each before its update.
    """
    word_rates, context_rates, x_max, alpha, clip = rates
    size = words.shape[1] - 1
    cost = 0.0
    for n in range(len(word)):
        w, c = words[word[n]], contexts[context[n]]
        w_squares, c_squares = word_squares[word[n]], context_squares[context[n]]
        w_rate, c_rate = word_rates[word[n]], context_rates[context[n]]
        error = w[size] + c[size] - np.log(count[n])
        for k in range(size):
            error += w[k] * c[k]
        gradient = error
        if count[n] < x_max:
            gradient *= (count[n] / x_max) ** alpha
        cost += 0.5 * gradient * error
        for k in range(size):
            w_step = w_rate * min(max(gradient * c[k], -clip), clip)
            c_step = c_rate * min(max(gradient * w[k], -clip), clip)
            w[k] -= w_step / np.sqrt(w_squares[k])
            c[k] -= c_step / np.sqrt(c_squares[k])
            w_squares[k] += w_step * w_step
            c_squares[k] += c_step * c_step
        # The original's biases learn at a rate of 1.
        w[size] -= gradient / np.sqrt(w_squares[size])
        c[size] -= gradient / np.sqrt(c_squares[size])
        w_squares[size] += gradient * gradient
        c_squares[size] += gradient * gradient
    return cost
