"""Instances made many at once have the original's distributions."""

import random

import numpy as np
import pytest
import scipy.stats
from tiny_corpus import STEMS, VOCAB, config, documents

from data_pipeline.corpora import token_store
from data_pipeline.corpora.bert_compatible import InstanceMaker
from data_pipeline.corpora.bert_instances import _truncated, block_instances

IDS = {piece: index for index, piece in enumerate(VOCAB)}
DTYPE = token_store.storage_dtype(len(VOCAB))


def piece_ids(sentence):
    """Ids of the tiny vocabulary: a stem, and perhaps an end."""
    found = []
    for word in sentence.split():
        found.append(IDS[word[:2]])
        if word[2:]:
            found.append(IDS[f"##{word[2:]}"])
    return found


def corpus_ids(number, seed=0):
    return [[piece_ids(s) for s in document] for document in documents(number, seed)]


def joined(corpus, numbers=None):
    numbers = range(len(corpus)) if numbers is None else numbers
    packed, starts = [], []
    for number in numbers:
        flat = np.concatenate(corpus[number])
        continues = np.array([VOCAB[i].startswith("##") for i in flat])
        packed.append(token_store.pack(flat, continues, DTYPE))
        starts.append(np.cumsum([0, *map(len, corpus[number])]))
    return token_store.join(list(numbers), packed, starts)


def rows(settings, corpus, numbers=None, block=0):
    """Each instance: tokens, length of A, is random, positions, labels."""
    found = []
    for batch in block_instances(joined(corpus, numbers), block, settings):
        ends = np.cumsum(batch.counts)
        for i, end in enumerate(ends):
            part = slice(end - batch.counts[i], end)
            found.append(
                (
                    batch.tokens[i, : batch.lengths[i]].tolist(),
                    int(batch.length_a[i]),
                    bool(batch.is_random_next[i]),
                    batch.positions[part].tolist(),
                    batch.labels[part].tolist(),
                )
            )
    return found


def restored(tokens, positions, labels):
    tokens = list(tokens)
    for position, label in zip(positions, labels, strict=True):
        tokens[position] = label
    return tokens


def test_a_pair_is_two_ranges_of_documents_and_the_right_ones():
    corpus = corpus_ids(31)
    flat = [[p for s in document for p in s] for document in corpus]
    texts = ["".join(f"<{p}>" for p in document) for document in flat]
    checked = {True: 0, False: 0}
    for tokens, length_a, is_random, positions, labels in rows(config(), corpus):
        tokens = restored(tokens, positions, labels)
        assert tokens[0] == 2
        assert tokens[length_a + 1] == tokens[-1] == 3
        a, b = tokens[1 : length_a + 1], tokens[length_a + 2 : -1]
        assert a
        assert b
        text_a, text_b = ("".join(f"<{p}>" for p in side) for side in (a, b))
        holds_a = {i for i, text in enumerate(texts) if text_a in text}
        holds_b = {i for i, text in enumerate(texts) if text_b in text}
        assert holds_a
        assert holds_b
        if len(a) > 4 and len(b) > 4:  # long enough to stand in one place only
            assert (holds_a == holds_b) is not is_random
            checked[is_random] += 1
    assert min(checked.values()) > 20


def test_no_instance_is_longer_or_masked_more_than_allowed():
    settings = config(masked_lm_prob=0.25, max_predictions_per_seq=6)
    found = rows(settings, corpus_ids(53))
    assert len(found) > 100
    for tokens, _, _, positions, _ in found:
        assert len(tokens) <= 24
        assert len(positions) == min(6, max(1, round(len(tokens) * 0.25)))
        assert positions == sorted(set(positions))
        assert not {0, len(tokens) - 1} & set(positions)
    assert max(len(row[0]) for row in found) == 24


def test_whole_words_are_masked_or_none_of_their_pieces():
    settings = config(do_whole_word_mask=True)
    partial, several = 0, 0
    for tokens, _, _, positions, labels in rows(settings, corpus_ids(53)):
        whole = restored(tokens, positions, labels)
        for position in range(2, len(whole)):
            if VOCAB[whole[position]].startswith("##") and whole[position - 1] > 4:
                pair = {position, position - 1} & set(positions)
                partial += len(pair) == 1
                several += len(pair) == 2
    assert partial == 0
    assert several > 30


def test_truncation_keeps_what_the_original_keeps():
    rng = random.Random(3)
    maker = InstanceMaker(config(), [], rng)
    for longest in (6, 7):
        pairs = [(a, b) for a in range(1, 15) for b in range(1, 15)]
        spans = np.array([(0, a, 100, 100 + b, 0) for a, b in pairs])
        _, kept_a, _, kept_b = _truncated(spans, longest, np.random.default_rng(0))
        for (a, b), *kept in zip(pairs, kept_a, kept_b, strict=True):
            side_a, side_b = [0] * a, [0] * b
            maker._truncate(side_a, side_b, longest)
            assert [len(side_a), len(side_b)] == kept, (a, b, longest)


def test_truncation_takes_from_the_front_as_often_as_from_the_back():
    spans = np.array([(0, 90, 200, 205, 0)] * 2000)
    starts, lengths, *_ = _truncated(spans, 30, np.random.default_rng(0))
    assert set(lengths) == {25}
    assert starts.min() >= 0
    assert starts.max() <= 65
    assert abs(starts.mean() - 32.5) < 0.5
    assert abs(starts.std() - np.sqrt(65 / 4)) < 0.2  # binomial


def statistics(found):
    """Numbers whose distribution the two ways must share, for each instance."""
    lengths = [len(tokens) for tokens, *_ in found]
    kinds = {"mask": 0, "kept": 0, "other": 0}
    places = []
    for tokens, _, _, positions, labels in found:
        for position, label in zip(positions, labels, strict=True):
            same = "kept" if tokens[position] == label else "other"
            kinds["mask" if tokens[position] == 4 else same] += 1
            places.append(position)
    return {
        "length": lengths,
        "length_a": [row[1] for row in found],
        "masked": [len(row[3]) for row in found],
        "place": places,
        "label": [label for row in found for label in row[4]],
    }, kinds


@pytest.mark.parametrize("whole_words", [False, True])
def test_distributions_are_the_originals(whole_words):
    settings = config(
        do_whole_word_mask=whole_words, short_seq_prob=0.3, dupe_factor=12
    )
    corpus = corpus_ids(150)
    numbers = [n for _ in range(12) for n in range(len(corpus))]
    ours = rows(settings, corpus, numbers)
    continues = [piece.startswith("##") for piece in VOCAB]
    maker = InstanceMaker(settings, continues, random.Random(5))
    theirs = [
        (i.tokens, i.length_a - 2, i.is_random_next, i.positions, i.labels)
        for i in maker.instances([list(d) for d in corpus])
    ]
    assert abs(len(ours) / len(theirs) - 1) < 0.02
    (our_numbers, our_kinds), (their_numbers, their_kinds) = map(
        statistics, (ours, theirs)
    )
    for name, numbers in our_numbers.items():
        # Two samples of ten thousand and more; the test's p is not used, because
        # instances of one document are not independent.
        statistic = scipy.stats.ks_2samp(numbers, their_numbers[name]).statistic
        assert statistic < 0.03, (name, statistic)
    for kind, number in our_kinds.items():
        share = number / sum(our_kinds.values())
        assert abs(share - their_kinds[kind] / sum(their_kinds.values())) < 0.015, kind
    assert abs(our_kinds["mask"] / sum(our_kinds.values()) - 0.8) < 0.015
    random_share = [np.mean([row[2] for row in found]) for found in (ours, theirs)]
    assert abs(random_share[0] - random_share[1]) < 0.02


@pytest.mark.parametrize("shares", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.2, 0.3)])
def test_chosen_pieces_become_masks_others_or_stay_in_the_shares_asked_for(shares):
    names = ("mask_probability", "random_probability", "keep_probability")
    settings = config(dupe_factor=12, **dict(zip(names, shares, strict=True)))
    corpus = corpus_ids(150)
    numbers = [n for _ in range(12) for n in range(len(corpus))]
    maker = InstanceMaker(settings, [False] * len(VOCAB), random.Random(5))
    theirs = [
        (i.tokens, i.length_a - 2, i.is_random_next, i.positions, i.labels)
        for i in maker.instances([list(d) for d in corpus])
    ]
    chance = 1 / len(VOCAB)  # any piece is the mask, or the one that stood there
    masked, random_, kept = shares
    wanted = {"mask": masked + random_ * chance, "kept": kept + random_ * chance}
    for found in (rows(settings, corpus, numbers), theirs):
        kinds = statistics(found)[1]
        for kind, share in wanted.items():
            assert abs(kinds[kind] / sum(kinds.values()) - share) < 0.015, kind


def test_random_next_sentences_come_from_every_other_document():
    corpus = [[[IDS[stem]] * 5 for _ in range(4)] for stem in STEMS]
    seen = {}
    settings = config(dupe_factor=200)
    numbers = [n for _ in range(200) for n in range(len(corpus))]
    for tokens, length_a, is_random, positions, labels in rows(
        settings, corpus, numbers
    ):
        tokens = restored(tokens, positions, labels)
        if is_random:
            seen.setdefault(tokens[1], []).append(tokens[length_a + 2])
    for own, others in seen.items():
        assert own not in others
        assert len(set(others)) == len(STEMS) - 1


def test_another_seed_or_block_gives_other_instances_and_the_same_gives_the_same():
    corpus = corpus_ids(17)
    first = rows(config(), corpus)
    assert rows(config(), corpus) == first
    assert rows(config(random_seed=8), corpus) != first
    assert rows(config(), corpus, block=1) != first


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_predictions_per_seq": 4}, "max_predictions_per_seq=4 is too small.* 5"),
        ({"max_predictions_per_seq": 0}, "max_predictions_per_seq=0; wanted"),
        ({"dupe_factor": 0}, "dupe_factor=0; wanted at least 1"),
        ({"max_seq_length": 4}, "max_seq_length=4; wanted at least 5"),
        ({"masked_lm_prob": 1.5}, "masked_lm_prob=1.5; wanted a number from 0"),
        ({"short_seq_prob": -0.1}, "short_seq_prob=-0.1"),
        (
            {"mask_probability": 1.0},
            "mask_probability=1 .* --keep_probability=0.1: got a sum of 1.2, wanted 1",
        ),
        ({"keep_probability": -0.1, "mask_probability": 1.0}, "keep_probability=-0.1"),
    ],
)
def test_impossible_settings_are_refused_by_flag(changed, message):
    with pytest.raises(ValueError, match=message):
        config(**changed)
