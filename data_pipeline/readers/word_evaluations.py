"""What word vectors are evaluated on: WordSim-353 and its like, questions-words.txt."""

import os
from typing import NamedTuple

import numpy as np

from data_pipeline.readers.text_files import read_text
from errors import UserError


class Pairs(NamedTuple):
    """Pairs of words, and how alike people find them, float64 [N]."""

    words: list[list[str]]
    scores: np.ndarray


class Questions(NamedTuple):
    """Analogies of four words each, and the name of the section that each is in."""

    words: list[list[str]]
    sections: list[str]


def read_pairs(path: str) -> Pairs:
    """Reads lines of two words and a score, as WordSim-353, SimLex-999 and MEN are.

    They are separated by tabs, else by commas, else by spaces. A part of speech, one
    letter, may stand before the score, as in SimLex-999 and SimVerb-3500; what stands
    behind the score is not read. Lines that begin with # are comments, and a first
    line without a score is a header.

    Raises:
      UserError: another line has no score; names it. Or as `text_files.read_text`.
    """
    words, scores, header = [], [], None
    for number, line in _lines(path):
        fields = _fields(line)
        score = _score(fields) if all(fields[:2]) else None
        if score is not None:
            words.append(fields[:2])
            scores.append(score)
        elif words or header:
            raise _no_pair(path, number, line)
        else:
            header = number, line
    if header and not words:
        raise _no_pair(path, *header)
    if not words:
        raise UserError(f"{path}: no line has two words and a number")
    return Pairs(words, np.array(scores))


def _no_pair(path, number, line):
    return UserError(
        f"{path}, line {number}: got {line[:40]!r}, wanted two words and a number"
    )


def _fields(line):
    for separator in "\t,":
        if separator in line:
            return [field.strip() for field in line.split(separator)]
    return line.split()


def _score(fields):
    """Returns what stands third, or fourth behind a letter; None if no number does."""
    place = 3 if len(fields) > 3 and len(fields[2]) == 1 and fields[2].isalpha() else 2
    try:
        score = float(fields[place])
    except (IndexError, ValueError):
        return None
    return score if np.isfinite(score) else None


def read_questions(path: str) -> Questions:
    """Reads lines of four words, under lines `: section`, as questions-words.txt has.

    Questions above the first of these are in a section that is named after the file.

    Raises:
      UserError: a line has not four words; names it. Or as `text_files.read_text`.
    """
    words, sections = [], []
    section = os.path.splitext(os.path.basename(path))[0]
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        fields = line.split()
        if len(fields) != 4:
            raise UserError(
                f"{path}, line {number}: got {line[:40]!r}, wanted four words"
            )
        words.append(fields)
        sections.append(section)
    if not words:
        raise UserError(f"{path}: there are no questions in it")
    return Questions(words, sections)


def _lines(path):
    """Yields numbered lines that are neither blank nor comments."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line
