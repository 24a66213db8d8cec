"""Documents come back from the store as they were written, and in equal shares."""

import collections

import numpy as np
import pytest

from data_pipeline.corpora import token_store
from data_pipeline.corpora.blocks import Blocks, Permutation

# (pieces of each line, -1 ends a document), in the portions they arrive in.
PORTIONS = [
    [-1, 3, 1, -1, -1, 2],
    [],
    [0, 4, -1, 0],
    [-1, 5],
    [1, 0, -1],
]
DOCUMENTS = [[3, 1], [2, 4], [5, 1]]


def write(folder, vocab_size):
    dtype = token_store.storage_dtype(vocab_size)
    next_id = 0
    with token_store.TokenStoreWriter(str(folder), dtype) as writer:
        for lengths in PORTIONS:
            lengths = np.array(lengths, np.int64)
            size = int(lengths[lengths > 0].sum())
            ids = (np.arange(size) + next_id) * 7 % vocab_size
            packed = token_store.pack(ids, (np.arange(size) + next_id) % 3 == 1, dtype)
            writer.add(packed, lengths)
            next_id += size
    return writer, token_store.TokenStore(str(folder), dtype)


@pytest.mark.parametrize("vocab_size", [29, 1 << 15, 120_000])
def test_any_documents_are_read_in_any_order(tmp_path, vocab_size):
    writer, store = write(tmp_path, vocab_size)
    counts = (writer.num_documents, writer.num_sentences, writer.num_tokens)
    assert counts == (3, 6, 16)
    assert writer.longest_document == 2
    numbers = [2, 0, 2, 1]
    found = store.read(numbers)
    store.close()
    place, first = 0, np.cumsum([0, *map(sum, DOCUMENTS)])
    for number, bounds in zip(numbers, found.bounds, strict=True):
        assert np.diff(bounds).tolist() == DOCUMENTS[number]
        assert bounds[0] == place
        where = np.arange(first[number], first[number + 1])
        part = slice(place, bounds[-1])
        assert found.tokens[part].tolist() == (where * 7 % vocab_size).tolist()
        assert found.continues[part].tolist() == (where % 3 == 1).tolist()
        place = bounds[-1]
    assert found.tokens.dtype == np.int32


def test_a_store_cut_short_is_an_error(tmp_path):
    _, store = write(tmp_path, 29)
    (tmp_path / "tokens").write_bytes(b"")
    with pytest.raises(OSError, match="ends 12 bytes too early"):
        store.read([2])
    store.close()


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 1000])
def test_the_permutation_visits_everything_once_and_can_be_undone(size):
    order = Permutation(size, seed=-3)
    found = order(np.arange(size))
    assert sorted(found.tolist()) == list(range(size))
    assert order(found, inverse=True).tolist() == list(range(size))
    if size > 3:
        assert found.tolist() != list(range(size))
        assert found.tolist() != Permutation(size, seed=-4)(np.arange(size)).tolist()


@pytest.mark.parametrize(("documents", "tokens"), [(2, 9), (331, 5_000_000), (70, 700)])
def test_blocks_hold_every_document_as_often_as_asked(documents, tokens):
    blocks = Blocks(documents, tokens, dupe_factor=5, seed=1)
    contents = [blocks.documents_of(b).tolist() for b in range(blocks.num_blocks)]
    assert collections.Counter(sum(contents, [])) == dict.fromkeys(range(documents), 5)
    sizes = {len(content) for content in contents}
    assert max(sizes) - min(sizes) <= 1
    places = {}
    for document in range(documents):
        for block, place in blocks.places_of(document):
            places.setdefault(block, []).append((place, document))
    assert [[d for _, d in sorted(places[b])] for b in sorted(places)] == contents


def test_a_block_mixes_the_whole_corpus():
    blocks = Blocks(10_000, 10_000 * 2_000, dupe_factor=1, seed=1)
    assert blocks.num_blocks > 50
    for block in (0, blocks.num_blocks - 1):
        found = blocks.documents_of(block)
        assert len(found) >= 64
        assert len({number * 8 // 10_000 for number in found.tolist()}) == 8


def test_blocks_grow_with_short_documents_only():
    assert Blocks(10_000, 10_000 * 10, 1, 0).num_blocks == 10_000 // 1024
    assert Blocks(10_000, 10_000 * 10**6, 1, 0).num_blocks == 10_000 // 64
