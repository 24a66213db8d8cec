"""Entity scores as conlleval counts them (Tjong Kim Sang and Buchholz 2000, section 5).

An entity counts where its type, its first and its last word are right. Tags that no
scheme allows are read as conlleval reads them: what cannot go on with the entity before
begins a new one. seqeval finds the entities, and is imported on first use.
"""

from collections.abc import Sequence

from errors import UserError

Sentences = Sequence[Sequence[str]]
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
