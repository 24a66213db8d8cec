"""Word vectors from and to the files of others, recognised by their contents.

`FORMATS` has all of them; the modules `word_vector_*` know how each is laid out.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from atomic_files import atomic_path
from checkpoints import (
    decimals,
    word_vector_binary,
    word_vector_folders,
    word_vector_streams,
    word_vector_text,
)
from checkpoints.mapping import CheckpointError
from checkpoints.word_vector_streams import Block, ByteReader

_HEAD = 1 << 16  # bytes that tell a format
_ENDINGS = (".npy", ".bin", ".vec", ".vec.gz", "vectors.txt", "vectors.txt.gz")
_COUNTS = "cooccurrence"  # how names of counts begin, the original GloVe's and ours


class WordVectors(NamedTuple):
    """Words, and their vectors, float32 [V, D].

    Words are text; bytes of a file that are no UTF-8 are kept in them as Python's
    "surrogateescape" does it, so that they are written as they were.
    """

    words: list[str]
    vectors: np.ndarray


def is_text(word: str) -> bool:
    """Tells whether a word was UTF-8 in its file; no text has the others."""
    return not any("\udc80" <= character <= "\udcff" for character in word)


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of word vectors.

    Attributes:
      name: as `write` takes it.
      wanted: what it is, for messages.
      files: the files that it is, in a folder; () if it is one file of any name.
      save: takes a file to write to, or what the names of `files` are to begin with,
        the words as bytes, and the vectors.
      refusal: says why it cannot hold a word, or None.
    """

    name: str
    wanted: str
    save: Callable
    files: tuple[str, ...] = ()
    refusal: Callable[[bytes], str | None] = lambda word: None


def _text(name, wanted, **how):
    """Returns a format of text; see word_vector_text.write."""

    def save(file, words, vectors):
        word_vector_text.write(file, words, vectors, **how)

    return Format(name, wanted, save, refusal=word_vector_text.refusal)


def _has(character, name):
    return lambda word: f"it has a {name} in it" if character in word else None


_FORMATS = (
    _text("word2vec", "word2vec's text", numbers="%.6f ", has_header=True),
    Format(
        "word2vec_binary",
        "word2vec's binary file",
        word_vector_binary.write_word2vec,
        refusal=_has(b" ", "space"),
    ),
    _text("glove", "GloVe's text", numbers=" %.6f", has_header=False),
    Format(
        "glove_binary",
        "GloVe's vectors.bin beside its vocab.txt",
        word_vector_binary.write_glove,
        files=(word_vector_binary.VOCAB, word_vector_binary.PARAMETERS),
    ),
    _text("fasttext", "fastText's .vec", numbers="%.5g ", has_header=True),
    Format(
        "npy",
        "numpy's .npy beside words.txt",
        word_vector_folders.write_array,
        files=(word_vector_folders.WORDS, word_vector_folders.VECTORS),
    ),
    Format(
        "projector",
        "TensorBoard's tensors.tsv beside metadata.tsv",
        word_vector_folders.write_projector,
        files=(
            word_vector_folders.METADATA,
            word_vector_folders.TENSORS,
            word_vector_folders.PROJECTOR,
        ),
        refusal=_has(b"\t", "tab"),
    ),
)
FORMATS = {format.name: format for format in _FORMATS}


def read(path: str, vocab_file: str | None = None) -> WordVectors:
    """Reads word vectors of any of `FORMATS`; text and word2vec's may be gzip's.

    Args:
      path: a file, or a folder that holds one.
      vocab_file: the words, of a format whose file has none; None: from beside it.

    Returns:
      The words in the file's order; of one that is there twice, the first is kept.

    Raises:
      CheckpointError: nothing there, nothing known, damaged, or numbers that are not
        finite; names the file, and the line or the word.
    """
    if tf.io.gfile.isdir(path):
        path = _find(path)
    with word_vector_streams.open_reader(path) as reader:
        return _assemble(_blocks(reader, vocab_file), path)


def names(folder: str) -> list[str]:
    """Returns which files of a folder are vectors; a projector's only without others.

    They are told by their names, and so are the counts that GloVe leaves beside them.
    """
    names = sorted(tf.io.gfile.listdir(folder))
    found = [
        name
        for name in names
        if name.endswith(_ENDINGS) and not name.startswith(_COUNTS)
    ]
    return found or [name for name in names if name == word_vector_folders.TENSORS]


def is_file(path: str) -> bool:
    """Tells by its first bytes whether a file may be word vectors."""
    with word_vector_streams.open_reader(path) as reader:
        head = reader.peek(_HEAD)
    if head.startswith(np.lib.format.MAGIC_PREFIX) or word_vector_text.header(head):
        return True
    if word_vector_folders.is_projector(head):
        return True
    if word_vector_binary.is_binary(head):
        return tf.io.gfile.exists(_beside(path, word_vector_binary.VOCAB))
    line, end, _ = head.partition(b"\n")
    numbers = line.rstrip(b"\r ").split(b" ")[1:][-2:]
    return bool(end and len(numbers) == 2) and all(map(decimals.is_number, numbers))


def _find(folder):
    """Returns the file of vectors in a folder."""
    found = names(folder)
    if len(found) == 1:
        return os.path.join(folder, found[0])
    if found:
        raise CheckpointError(f"{folder}: holds {' and '.join(found)}; name one")
    raise _unknown(folder, _listed(folder))


def _listed(folder):
    listed = ", ".join(sorted(tf.io.gfile.listdir(folder))[:10])
    return f"a folder with {listed or 'nothing in it'}"


def _unknown(path, got):
    *most, last = (format.wanted for format in _FORMATS)
    wanted = f"{', '.join(most)} or {last}"
    return CheckpointError(f"{path}: got {got}; wanted word vectors: {wanted}")


def _blocks(reader: ByteReader, vocab_file: str | None) -> Iterator[Block]:
    """Recognises a file, and reads it."""
    head, path = reader.peek(_HEAD), reader.path
    if head.startswith(np.lib.format.MAGIC_PREFIX):
        words = vocab_file or word_vector_folders.find_words(path)
        return word_vector_folders.read_array(
            reader, word_vector_folders.read_words(words)
        )
    if word_vector_folders.is_projector(head):
        words = vocab_file or _beside(path, word_vector_folders.METADATA)
        return word_vector_folders.read_projector(
            reader, word_vector_folders.read_metadata(words)
        )
    said = word_vector_text.header(head)
    if not said and word_vector_binary.is_binary(head):
        words = vocab_file or _beside(path, word_vector_binary.VOCAB)
        if not tf.io.gfile.exists(words):
            raise _unknown(path, f"a file that starts with {head[:8]!r}")
        return word_vector_binary.read_glove(
            path, word_vector_folders.read_words(words)
        )
    if vocab_file:
        raise CheckpointError(f"{path}: has its own words, not those of {vocab_file}")
    if said and 0 in said:
        raise CheckpointError(f"{path}, line 1 says that there are no word vectors")
    if said and word_vector_binary.is_word2vec(head):
        return word_vector_binary.read_word2vec(reader)
    return word_vector_text.read(reader)


def _beside(path, name):
    return os.path.join(os.path.dirname(path), name)


def _assemble(blocks: Iterator[Block], path: str) -> WordVectors:
    """Puts blocks into one table, which grows as they come."""
    found: dict[str, None] = {}
    table, seen, undecoded = np.empty([0, 0], np.float32), 0, 0
    for block in blocks:
        _check(block, path)
        kept = []
        for i, word in enumerate(block.words):
            try:
                text = word.decode("utf-8")
            except UnicodeDecodeError:
                text = word.decode("utf-8", "surrogateescape")
                undecoded += 1
            if text not in found:
                found[text] = None
                kept.append(i)
        if len(found) > len(table):  # the system moves memory, no copy is made
            room = max(len(found), len(table) * 9 // 8)
            table.resize((room, block.vectors.shape[1]), refcheck=False)
        rows = block.vectors if len(kept) == len(block.words) else block.vectors[kept]
        table[len(found) - len(kept) : len(found)] = rows
        seen += len(block.words)
    if not found:
        raise CheckpointError(f"{path}: no word vectors in it")
    table.resize((len(found), table.shape[1]), refcheck=False)
    if seen > len(found):
        logging.warning(
            "%s: %d words are there more than once; the first vector of each is kept",
            path,
            seen - len(found),
        )
    if undecoded:
        logging.warning("%s: %d words are not UTF-8", path, undecoded)
    return WordVectors(list(found), table)


def _check(block, path):
    """Names the first word that is empty, or whose vector nothing can be done with."""
    bad = ~np.isfinite(block.vectors).all(1)
    bad |= np.fromiter((not word for word in block.words), bool, len(bad))
    if bad.any():
        i = int(bad.argmax())
        raise CheckpointError(
            f"{path}, {block.unit} {block.first + i}: got {_shown(block.words[i])} and "
            f"{_some(block.vectors[i])}, wanted a word and {block.vectors.shape[1]} "
            "finite numbers"
        )


def _shown(word):
    return repr(word.decode("utf-8", "backslashreplace"))


def _some(vector):
    """The first numbers that are not finite, or else the first number."""
    odd = vector[~np.isfinite(vector)]
    return ", ".join(map(str, (odd if len(odd) else vector)[:1]))


def write(path: str, vectors: WordVectors, format: str = "word2vec") -> None:
    """Writes word vectors; what `path` held before stays until all is written.

    Args:
      path: a file, which gzip packs if it ends in `.gz`; or a folder, of a format that
        is several files. Other files in it stay.
      vectors: V > 0 words, all different, and their vectors; of float64, decimals are
        rounded once.
      format: a key of `FORMATS`. "word2vec" and "glove" keep six decimals, "fasttext"
        five digits, as those programs write them; the others all of 32 bits.

    Raises:
      CheckpointError: a word that the format cannot hold, numbers that are not finite,
        a folder of the name that a file is to have or the other way round.
    """
    form = FORMATS[format]
    if tf.io.gfile.exists(path) and tf.io.gfile.isdir(path) != bool(form.files):
        got, wanted = ("file", "folder") if form.files else ("folder", "file")
        raise CheckpointError(
            f"{path}: is a {got}; wanted the name of a {wanted} to write {form.wanted}"
        )
    words = [word.encode("utf-8", "surrogateescape") for word in vectors.words]
    table = np.asarray(vectors.vectors)
    if not words:
        raise CheckpointError(f"{path}: no words to write vectors of")
    if format == "glove" and table.shape[1] < 2:
        raise CheckpointError(
            f"{path}: vectors of one number each are not told from a header in GloVe's "
            "text; write another format"
        )
    _check_words(path, words, form)
    for start in range(0, len(words), 1000):
        some = slice(start, start + 1000)
        _check(Block(words[some], table[some], "word", start + 1), path)
    if form.files:
        with atomic_path(os.path.join(path, ""), form.files) as prefix:
            form.save(prefix, words, table)
    else:
        with word_vector_streams.open_writer(path) as file:
            form.save(file, words, table)


def _check_words(path, words, form):
    refused = ((i, word, _refusal(word, form)) for i, word in enumerate(words, 1))
    refused = [found for found in refused if found[2]]
    if refused:
        place, word, why = refused[0]
        raise CheckpointError(
            f"{path}: {form.name} cannot hold {len(refused)} of the {len(words)} "
            f"words; word {place} is {_shown(word)}: {why}"
        )


def _refusal(word, form):
    return "it has an end of line in it" if b"\n" in word else form.refusal(word)
