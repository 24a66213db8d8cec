"""The CRF against pytorch-crf's numbers, against brute force, and what must hold."""

import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from modeling.layers import crf

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden/crf.npz", allow_pickle=False)
CASES = range(4)


def golden(case):
    """The arrays of a case, by the names without it."""
    start = f"case{case}/"
    return {
        name.removeprefix(start): GOLDEN[name]
        for name in GOLDEN.files
        if name.startswith(start)
    }


def scores(case):
    """start, transitions and end."""
    return [case[name] for name in ("start", "transitions[from,to]", "end")]


def random_case(batch=3, length=4, tags=3, seed=0):
    """Emissions, mask with rows of 1 to `length` words, and the scores."""
    rng = np.random.default_rng(seed)
    normal = [rng.normal(size=s) for s in ([tags], [tags, tags], [tags])]
    emissions = rng.normal(size=[batch, length, tags]).astype(np.float32)
    lengths = np.linspace(1, length, batch).astype(int)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    return emissions, mask, [values.astype(np.float32) for values in normal]


def all_paths(emissions, start, transitions, end):
    """Path -> score, for one row without padding."""
    length, tags = emissions.shape
    return {
        path: start[path[0]]
        + sum(emissions[t, tag] for t, tag in enumerate(path))
        + sum(transitions[pair] for pair in itertools.pairwise(path))
        + end[path[-1]]
        for path in itertools.product(range(tags), repeat=length)
    }


@pytest.mark.parametrize("case", CASES)
def test_likelihood_and_gradients_are_those_of_pytorch_crf(case):
    case = golden(case)
    variables = [tf.constant(case["emissions"]), *map(tf.constant, scores(case))]
    mask = tf.constant(case["mask"].astype(np.int32))
    with tf.GradientTape() as tape:
        tape.watch(variables)
        found = crf.log_likelihood(
            variables[0], case["tags"].astype(np.int32), mask, *variables[1:]
        )
        loss = -tf.reduce_mean(found)
    np.testing.assert_allclose(found, case["log_likelihood"], atol=1e-4)
    np.testing.assert_allclose(-loss, case["log_likelihood_mean"], atol=1e-4)
    np.testing.assert_allclose(
        tf.reduce_sum(found) / case["mask"].sum(),
        case["log_likelihood_token_mean"],
        atol=1e-4,
    )
    names = ("emissions", "start", "transitions", "end")
    for name, gradient in zip(names, tape.gradient(loss, variables), strict=True):
        wanted = case[f"grad_of_-mean/{name}"]
        np.testing.assert_allclose(gradient, wanted, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_best_paths_are_those_of_pytorch_crf(case):
    case = golden(case)
    mask = case["mask"].astype(np.int32)
    paths, found = crf.viterbi(case["emissions"], mask, *scores(case))
    np.testing.assert_array_equal(paths, case["viterbi(-1 padded)"])
    wanted = crf.path_score(
        case["emissions"], np.maximum(paths, 0), mask, *scores(case)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_partition_and_best_path_equal_an_enumeration_of_all_paths():
    emissions, mask, chain = random_case()
    partition = crf.log_partition(emissions, mask, *chain)
    paths, best = crf.viterbi(emissions, mask, *chain)
    for row, length in enumerate(mask.sum(axis=1)):
        every = all_paths(emissions[row, :length], *chain)
        total = np.log(np.exp(list(every.values())).sum())
        np.testing.assert_allclose(partition[row], total, atol=1e-5)
        path = max(every, key=every.get)
        assert tuple(paths[row, :length].numpy()) == path
        np.testing.assert_allclose(best[row], every[path], atol=1e-5)


def test_padding_changes_neither_likelihood_nor_path():
    emissions, mask, chain = random_case(batch=2, length=5, tags=4)
    tags = np.array([[3, 0, 0, 0, 0], [1, 2, 0, 3, 1]])
    wide = np.pad(emissions, [[0, 0], [0, 3], [0, 0]], constant_values=7.0)
    wide_mask, wide_tags = (np.pad(a, [[0, 0], [0, 3]]) for a in (mask, tags))
    np.testing.assert_allclose(
        crf.log_likelihood(emissions, tags, mask, *chain),
        crf.log_likelihood(wide, wide_tags + (1 - wide_mask) * 2, wide_mask, *chain),
        rtol=1e-6,
    )
    paths = crf.viterbi(wide, wide_mask, *chain)[0]
    np.testing.assert_array_equal(paths[:, :5], crf.viterbi(emissions, mask, *chain)[0])
    assert (paths.numpy()[wide_mask == 0] == -1).all()


def test_a_forbidden_transition_is_never_taken_and_costs_no_accuracy():
    emissions, mask, (start, transitions, end) = random_case(length=6, tags=3)
    transitions[0, 1] = transitions[0, 2] = -1e4  # tag 0 is never left
    start[0] = -1e4  # and entered from another only
    chain = (start, transitions, end)
    for path in crf.viterbi(emissions, mask, *chain)[0].numpy():
        assert path[0] != 0
        assert (0, 1) not in itertools.pairwise(path)
        assert (0, 2) not in itertools.pairwise(path)
    every = all_paths(emissions[2], *(a.astype(float) for a in chain))
    total = np.log(np.exp(list(every.values())).sum())
    np.testing.assert_allclose(
        crf.log_partition(emissions, mask, *chain)[2], total, atol=1e-4
    )


def test_compiled_with_xla_it_computes_the_same():
    emissions, mask, chain = random_case(batch=2, length=7, tags=3)
    tags = np.full([2, 7], 2, np.int32)

    def run(emissions):
        with tf.GradientTape() as tape:
            tape.watch(emissions)
            found = crf.log_likelihood(emissions, tags, mask, *chain)
        return (
            found,
            tape.gradient(found, emissions),
            crf.viterbi(emissions, mask, *chain)[0],
        )

    compiled = tf.function(run, jit_compile=True, autograph=False)
    tensor = tf.constant(emissions)
    for plain, fast in zip(run(tensor), compiled(tensor), strict=True):
        np.testing.assert_allclose(plain, fast, atol=1e-5)


def test_the_layer_names_its_variables_and_begins_as_a_word_by_word_decision():
    layer = crf.LinearChain(3, name="crf")
    layer.build()
    assert {v.path: tuple(v.shape) for v in layer.variables} == {
        "crf/start": (3,),
        "crf/transitions": (3, 3),
        "crf/end": (3,),
    }
    emissions, mask, _ = random_case()
    wanted = np.where(mask > 0, emissions.argmax(axis=-1), -1)
    np.testing.assert_array_equal(layer(emissions, mask), wanted)
    tags = np.maximum(wanted, 0)
    chosen = tf.nn.log_softmax(emissions).numpy().max(axis=-1) * mask
    np.testing.assert_allclose(
        layer.log_likelihood(emissions, tags, mask), chosen.sum(axis=1), atol=1e-5
    )
