"""The schemes of tags: what a tag says of an entity, and how each scheme writes it.

    IOB1   I- inside an entity; B- only where it touches one of its own type before
    BIO    B- on an entity's first word, I- on the others (also called IOB2)
    IOBES  as BIO, with E- on the last word and S- on an only one
    BMES   as IOBES, with M- for I-
    BILOU  as IOBES, with L- for E- and U- for S-
    plain  no entities: every word has a label of its own, as for parts of speech

Files with one type of entity only leave it out: B, I and O.
"""

import re

import numpy as np

from metrics.tagging import AS_IOBES

PLAIN = "plain"
# How a scheme begins the tags of an entity's first, inner, last and only word.
LETTERS = {
    "IOB1": "IIII",  # but B where a first word touches an entity of its own type
    "BIO": "BIIB",
    "IOBES": "BIES",
    "BMES": "BMES",
    "BILOU": "BILU",
}
SCHEMES = (*LETTERS, PLAIN)
_TAG = re.compile(r"O|[BIESMLU](-.+)?")


def is_tag(name: str) -> bool:
    """Tells whether any scheme but the plain one has such a tag."""
    return _TAG.fullmatch(name) is not None


def entity_type(tag: str) -> str:
    """Returns what follows the letter; "" where there is nothing."""
    return tag.partition("-")[2]


def convert(tags: np.ndarray, offsets: np.ndarray, scheme: str) -> np.ndarray:
    """Writes tags of any scheme, well formed or not, in another one.

    What is an entity is decided as conlleval decides it: where a tag cannot go on with
    the entity before, a new one begins.

    Args:
      tags: str [words], each "O", or a letter of a scheme with or without a type.
      offsets: int64 [N + 1], the sentences.
      scheme: one of `SCHEMES`; plain, if the tags are, which stay what they are.

    Returns:
      str [words].
    """
    if scheme == PLAIN:
        return tags
    # Few tags differ: what they mean is looked up, and then all is index arithmetic.
    names, tag_ids = np.unique(tags, return_inverse=True)
    types, type_ids = np.unique(
        [entity_type(name) for name in names], return_inverse=True
    )
    letters = np.array([name[0].translate(AS_IOBES) for name in names])
    prefix, kind = letters[tag_ids], type_ids[tag_ids]
    inside, begins = prefix != "O", np.isin(prefix, ("B", "S"))
    touches = np.append(False, inside[:-1])  # the word before is in an entity, too
    touches[offsets[:-1]] = False
    same = touches & np.append(False, kind[1:] == kind[:-1])
    closed = np.append(False, np.isin(prefix[:-1], ("E", "S")))
    first = inside & (begins | closed | ~same)
    follows = inside & ~first  # goes on with the entity before
    last = inside & ~np.append(follows[1:], False)
    place = np.select([first & last, last, first], [3, 2, 0], default=1)
    wanted = np.array(list(LETTERS[scheme]))[place]
    if scheme == "IOB1":
        wanted[first & same] = "B"
    endings = np.array([f"-{name}" if name else "" for name in types])
    return np.where(inside, np.char.add(wanted, endings[kind]), "O")


def scheme_tags(tags: np.ndarray, scheme: str) -> tuple[str, ...]:
    """All tags that a scheme has for the types in `tags`: "O" first, sorted by type.

    Of plain ones those that are there, sorted.
    """
    found = np.unique(tags).tolist()
    if scheme == PLAIN:
        return tuple(found)
    letters = dict.fromkeys("B" + LETTERS[scheme])
    types = sorted({entity_type(tag) for tag in found if tag != "O"})
    endings = [f"-{kind}" if kind else "" for kind in types]
    return ("O", *(letter + ending for ending in endings for letter in letters))
