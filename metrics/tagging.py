"""Entity scores as conlleval counts them (Tjong Kim Sang and Buchholz 2000, section 5).

An entity counts where its type, its first and its last word are right. Tags that no
scheme allows are read as conlleval reads them: what cannot go on with the entity before
begins a new one. seqeval finds the entities, and is imported on first use.
"""

import bisect
import collections
from collections.abc import Sequence

from errors import UserError

Sentences = Sequence[Sequence[str]]
Entity = tuple[str, int, int]  # type, first word, last word
# What an entity came to: found as it is; or at its place with another type; or of its
# type, but with another first or last word; or with both wrong; or not at all.
OUTCOMES = ("right", "type", "boundary", "both", "missed")
# A found entity that there is not.
SPURIOUS = "spurious"
# What the letters of BMES and BILOU are called in IOBES, which seqeval reads.
AS_IOBES = str.maketrans("MLU", "IES")
_TYPELESS = "_"  # seqeval's name for it


def entity_f1(targets: Sentences, predictions: Sentences) -> dict[str, float]:
    """Precision, recall and F1 of entities, in all and by type.

    Args:
        targets: N sentences of tags, in IOB1, BIO, IOBES, BMES or BILOU; with types
            (B-PER), or without (B).
        predictions: as many tags of each sentence.

    Returns:
        `precision`, `recall`, `f1` over all entities; `macro_f1`, the mean of the
        types' F1; `accuracy` of the tags; with types `precision_<type>`,
        `recall_<type>` and `f1_<type>`. All are 0 to 1, and 0 where there is nothing to
        divide by.

    Raises:
        UserError: there is no tag, or the two sides differ in length.
    """
    from seqeval.metrics import sequence_labeling

    _check(targets, predictions)
    wanted, found = (
        set(sequence_labeling.get_entities([_as_iobes(tags) for tags in side]))
        for side in (targets, predictions)
    )
    results = _scores(wanted, found, "")
    kinds = sorted({kind for kind, _, _ in wanted | found})
    by_kind = {}
    for kind in kinds:
        sides = (
            {entity for entity in side if entity[0] == kind} for side in (wanted, found)
        )
        by_kind |= _scores(*sides, f"_{kind}")
    total = sum(by_kind[f"f1_{kind}"] for kind in kinds)
    results["macro_f1"] = total / len(kinds) if kinds else 0.0
    if kinds == [_TYPELESS]:
        by_kind = {}
    accuracy = sequence_labeling.accuracy_score(targets, predictions)
    return results | {"accuracy": float(accuracy)} | by_kind


def find_entities(sentences: Sentences) -> list[list[Entity]]:
    """Finds the entities of each sentence, in the order of their words.

    Args:
      sentences: tags, see `entity_f1`.

    Returns:
      Of each sentence its entities; without types the type is "_".
    """
    from seqeval.metrics import sequence_labeling

    # As one long list, a word that is no entity after each sentence.
    tags = [tag for s in sentences for tag in (*_as_iobes(s), "O")]
    starts, end = [], 0
    for sentence in sentences:
        starts.append(end)
        end += len(sentence) + 1
    found: list[list[Entity]] = [[] for _ in sentences]
    for kind, first, last in sequence_labeling.get_entities(tags):
        row = bisect.bisect_right(starts, first) - 1
        found[row].append((kind, first - starts[row], last - starts[row]))
    return found


def entity_outcomes(
    wanted: Sequence[Entity], found: Sequence[Entity]
) -> list[tuple[str, Entity | None, Entity | None]]:
    """Says of a sentence's entities what became of them.

    Each entity is held against one at most: one of the same words, else the first one
    of its type that has a word in common, else the first such one of any type.

    Args:
      wanted: the right ones, in order.
      found: the predicted ones, in order.

    Returns:
      (outcome, wanted, found): one of OUTCOMES for each of `wanted`, found being None
      where it is missed; then SPURIOUS, wanted being None, for what is left.
    """
    left, results = list(found), {}

    def hold(outcome, is_match):
        for entity in wanted:
            if entity in results:
                continue
            match = next((other for other in left if is_match(entity, other)), None)
            if match:
                left.remove(match)
                results[entity] = outcome, entity, match

    def overlap(entity, other):
        return entity[1] <= other[2] and other[1] <= entity[2]

    hold("right", lambda entity, other: entity == other)
    hold("type", lambda entity, other: entity[1:] == other[1:])
    hold("boundary", lambda a, b: a[0] == b[0] and overlap(a, b))
    hold("both", overlap)
    outcomes = [results.get(entity, ("missed", entity, None)) for entity in wanted]
    return outcomes + [(SPURIOUS, None, other) for other in left]


def outcome_counts(
    outcomes: Sequence[tuple[str, Entity | None, Entity | None]],
) -> dict[str, collections.Counter[str]]:
    """Counts outcomes by the right entity's type; spurious ones by their own."""
    counts: dict[str, collections.Counter[str]] = {}
    for outcome, wanted, found in outcomes:
        kind = (wanted or found)[0]
        counts.setdefault(kind, collections.Counter())[outcome] += 1
    return {kind: counts[kind] for kind in sorted(counts)}


def _as_iobes(tags: Sequence[str]) -> list[str]:
    return [tag[0].translate(AS_IOBES) + tag[1:] for tag in tags]


def _scores(wanted: set, found: set, ending: str) -> dict[str, float]:
    """Precision, recall and F1 of a set of entities; 0 / 0 is 0."""
    right = len(wanted & found)
    return {
        f"precision{ending}": right / len(found) if found else 0.0,
        f"recall{ending}": right / len(wanted) if wanted else 0.0,
        f"f1{ending}": 2 * right / (len(wanted) + len(found)) if right else 0.0,
    }


def _check(targets: Sentences, predictions: Sentences) -> None:
    if len(targets) != len(predictions):
        raise UserError(
            f"entity_f1: {len(targets)} target sentences, but {len(predictions)} "
            "predicted ones"
        )
    if not any(len(tags) for tags in targets):
        raise UserError("entity_f1: there are no tags to score")
    for i, (wanted, got) in enumerate(zip(targets, predictions, strict=True)):
        if len(wanted) != len(got):
            raise UserError(
                f"entity_f1: sentence {i} has {len(wanted)} tags, but {len(got)} "
                "predicted ones"
            )
