"""A short look at a user's data before any work: what is there, what looks wrong."""

import collections
from collections.abc import Mapping, Sequence

from absl import logging

from data_pipeline.readers.examples import InputExample

_SHOWN_ROWS, _SHOWN_LABELS = 3, 30


def tell(sets: Mapping[str, Sequence[InputExample]]) -> None:
    """Logs what there is; what looks wrong, as a warning.

    Args:
      sets: name -> examples; "train" is what the others are compared with.
    """
    train = {_texts(example) for example in sets.get("train", ())}
    for name, examples in sets.items():
        counts = collections.Counter(
            label for example in examples for label in _labels(example)
        )
        logging.info("%s: %d rows%s", name, len(examples), _spoken(counts))
        for problem in problems(examples):
            logging.warning("%s: %s", name, problem)
        again = [e for e in examples if name != "train" and _texts(e) in train]
        if again:
            logging.warning("%s: %s", name, _rows(again, "the text is in train, too"))


def problems(examples: Sequence[InputExample]) -> list[str]:
    """Says what looks wrong in a set: empty texts, duplicates, labels that are one."""
    found = []
    empty = [example for example in examples if not example.text_a.strip()]
    if empty:
        found.append(_rows(empty, "the text is empty"))
    first, again, other = {}, [], []
    for example in examples:
        earlier = first.setdefault(_texts(example), example)
        if earlier is not example:
            again.append(example)
        if earlier.label != example.label:
            other.append(example)
    if again:
        found.append(_rows(again, "the text stands in an earlier row"))
    if other:
        found.append(_rows(other, "an earlier row of that text has another label"))
    spellings = collections.defaultdict(set)
    for example in examples:
        for label in _labels(example):
            spellings["".join(label.split()).casefold()].add(label)
    for alike in spellings.values():
        if len(alike) > 1:
            names = ", ".join(map(repr, sorted(alike)))
            found.append(f"labels that differ in case or blanks only: {names}")
    return found


def _texts(example):
    return example.text_a, example.text_b, getattr(example, "endings", ())


def _labels(example):
    """The labels of an example; none of a number."""
    if isinstance(example.label, tuple):
        return example.label
    return (example.label,) if isinstance(example.label, str) else ()


def _spoken(counts):
    """The labels and how many rows each has, the most frequent first."""
    if not counts:
        return ""
    shown = ", ".join(f"{k} {n}" for k, n in counts.most_common(_SHOWN_LABELS))
    more = ", ..." if len(counts) > _SHOWN_LABELS else ""
    return f", {len(counts)} labels: {shown}{more}"


def _rows(examples, what):
    """Says how many rows there are of something, and which the first are."""
    guids = [example.guid for example in examples[:_SHOWN_ROWS]]
    guids += ["..."] if len(examples) > _SHOWN_ROWS else []
    number = "1 row" if len(examples) == 1 else f"{len(examples)} rows"
    return f"{number}: {what} ({', '.join(guids)})"
