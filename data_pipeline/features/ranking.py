"""Questions and their candidates in packs of R, as records hold them.

In training a pack is a right candidate, which stands first, and R - 1 wrong ones of the
same question (namisan/mt-dnn's pairwise packing; Liu et al. 2019, equation 5): so many
packs that every candidate of the question is in one. To score, a question's candidates
are cut into packs in their order. The sequences stand side by side, [longest, R].
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features.bert import ClassificationColumns
from data_pipeline.readers.examples import InputExample
from data_pipeline.readers.ranking import RankingExample

RIGHT, WRONG, NONE = 1, 0, -1


@dataclasses.dataclass(frozen=True)
class Pack:
    """Some candidates of a question.

    Attributes:
      question: its place in the data set.
      candidates: their places among the question's, R of them at most.
    """

    question: int
    candidates: tuple[int, ...]


def training_packs(examples: Sequence[RankingExample], size: int) -> list[Pack]:
    """Packs a right candidate with others, wherever a question has both.

    Args:
      examples: the questions.
      size: R, 2 or more.

    Returns:
      The packs, question after question. The right ones, or the wrong ones, are taken
      from the first on again where there are more of the others.
    """
    packs = []
    for question, example in enumerate(examples):
        places = range(len(example.candidates))
        right = [place for place in places if example.right[place]]
        wrong = [place for place in places if not example.right[place]]
        if not right or not wrong:
            continue
        number = max(len(right), -(-len(wrong) // (size - 1)))
        first, others = itertools.cycle(right), itertools.cycle(wrong)
        taken = min(size - 1, len(wrong))
        for _ in range(number):
            chosen = itertools.islice(others, taken)
            packs.append(Pack(question, (next(first), *chosen)))
    return packs


def scoring_packs(examples: Sequence[RankingExample], size: int) -> list[Pack]:
    """Cuts each question's candidates into packs of `size`, the last one shorter."""
    packs = []
    for question, example in enumerate(examples):
        number = len(example.candidates)
        for start in range(0, number, size):
            stop = min(start + size, number)
            packs.append(Pack(question, tuple(range(start, stop))))
    return packs


def pairs(
    examples: Sequence[RankingExample], packs: Sequence[Pack]
) -> list[InputExample]:
    """Returns the texts of packs, one after the other, as pairs without labels."""
    return [
        InputExample("", examples[pack.question].text, text)
        for pack in packs
        for text in (examples[pack.question].candidates[c] for c in pack.candidates)
    ]


def spec(size: int) -> FeatureSpec:
    """Features of packs of R candidates.

    Returns:
      input_ids, segment_ids int32 [S, R]; lengths int32 [R], 0 where there is no
      candidate; right int32 [R], RIGHT, WRONG or NONE; question int32 [].
    """
    return FeatureSpec(
        [
            Feature("input_ids", tf.int32, (None, size)),
            Feature("segment_ids", tf.int32, (None, size)),
            Feature("lengths", tf.int32, (size,)),
            Feature("right", tf.int32, (size,), is_input=False),
            Feature("question", tf.int32, is_input=False),
        ]
    )


def records(
    examples: Sequence[RankingExample],
    packs: Sequence[Pack],
    columns: ClassificationColumns,
    size: int,
) -> Iterator[bytes]:
    """Yields packs serialised, numbered from 0.

    Args:
      examples: the questions.
      packs: of them.
      columns: of `pairs`.
      size: R.
    """
    declared, offsets = spec(size), iter(itertools.pairwise(columns.offsets.tolist()))
    for index, pack in enumerate(packs):
        bounds = list(itertools.islice(offsets, len(pack.candidates)))
        longest = max(stop - start for start, stop in bounds)
        values = {
            "input_ids": np.zeros([longest, size], np.int32),
            "segment_ids": np.zeros([longest, size], np.int32),
            "lengths": np.zeros([size], np.int32),
            "right": np.full([size], NONE, np.int32),
            "question": pack.question,
        }
        right = examples[pack.question].right
        for column, (start, stop) in enumerate(bounds):
            values["input_ids"][: stop - start, column] = columns.input_ids[start:stop]
            values["segment_ids"][: stop - start, column] = columns.segment_ids[
                start:stop
            ]
            values["lengths"][column] = stop - start
            if right is not None:
                values["right"][column] = right[pack.candidates[column]]
        yield declared.to_example(values, example_index=index)
