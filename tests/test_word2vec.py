"""word2vec: its objective, what is kept, what is drawn as noise, the Huffman tree."""

import heapq
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from errors import UserError
from modeling import word2vec

GOLDEN = pathlib.Path(__file__).parent / "golden/word2vec/vocab_tables.npz"


@pytest.fixture(scope="module")
def golden():
    """What word2vec.c made of WikiText-2."""
    return np.load(GOLDEN)


def test_the_huffman_code_is_the_originals(golden):
    code = word2vec.huffman_code(golden["counts"])
    np.testing.assert_array_equal(np.diff(code.starts), golden["code_length"])
    np.testing.assert_array_equal(code.padded(code.codes), golden["huffman_codes"])
    np.testing.assert_array_equal(code.padded(code.nodes), golden["huffman_points"])


def test_no_prefix_code_is_shorter():
    counts = np.sort(np.random.default_rng(2).zipf(1.4, 300))[::-1].copy()
    code = word2vec.huffman_code(counts)
    lengths = np.diff(code.starts)
    heap, cost = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    assert (lengths * counts).sum() == cost
    assert np.exp2(-lengths.astype(float)).sum() == 1
    ways = np.split(code.codes, code.starts[1:-1])
    assert len({tuple(way.tolist()) for way in ways}) == len(counts)


def test_the_noise_has_the_originals_slots(golden):
    slots = word2vec.noise_slots(golden["counts"])
    np.testing.assert_array_equal(slots, golden["unigram_table_slots"])
    found = word2vec.noise_distribution(golden["counts"])
    np.testing.assert_allclose(found, golden["unigram_prob_formula"], rtol=1e-12)


@pytest.mark.parametrize("size", [30, 100, 1000])
def test_slots_are_those_of_the_loop_that_fills_the_table(size):
    counts = np.array([1000, 90, 5, *[1] * 20])
    probability = counts**0.75 / (counts**0.75).sum()
    word, until, slots = 0, probability[0], np.zeros(len(counts), int)
    for slot in range(size):
        slots[word] += 1
        if slot / size > until:
            word += 1
            until += probability[min(word, len(counts) - 1)]
        word = min(word, len(counts) - 1)
    assert word2vec.noise_slots(counts, size).tolist() == slots.tolist()


def test_words_are_kept_as_often_as_in_the_original(golden):
    found = word2vec.keep_probabilities(golden["counts"], 1e-3)
    assert found.dtype == np.float32
    expected = golden["keep_prob_sample1e_3_from_C"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (word2vec.keep_probabilities(golden["counts"], 0) > 1).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vector_size": 0}, "vector_size is 0"),
        ({"negative": 0}, "nothing would be learnt"),
        ({"cbow": 1}, "cbow is 1, wanted a bool"),
        ({"vector_size": 2**30}, "vocab_size x vector_size"),
    ],
)
def test_impossible_models_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        word2vec.Word2vecConfig(**{"vocab_size": 7, **values})


def made_model(**values):
    config = word2vec.Word2vecConfig(**{"vocab_size": 6, "vector_size": 3} | values)
    layer = word2vec.Word2vecModel(config, seed=4)
    layer.build()
    rng = np.random.default_rng(5)
    layer.output_embeddings.assign(rng.normal(size=config.output_shape))
    return layer


def test_the_objective_is_the_papers():
    layer = made_model()
    inputs, outputs = layer.input_embeddings.numpy(), layer.output_embeddings.numpy()
    hidden = np.stack([inputs[2], inputs[[5, 1, 1]].mean(0)])
    logits = [hidden[0] @ outputs[[4, 3, 0]].T, hidden[1] @ outputs[[1, 2, 2]].T]
    contexts, rows = [[2, -1, -1], [5, 1, 1]], [[4, 3, 0], [1, 2, -1]]
    contexts, rows, labels = map(tf.constant, (contexts, rows, [[1, 0, 0], [1, 0, -1]]))
    np.testing.assert_allclose(layer(contexts, rows)[0], logits[0], rtol=1e-5)
    np.testing.assert_allclose(layer(contexts, rows)[1, :2], logits[1][:2], rtol=1e-5)
    log_p = [np.log(1 / (1 + np.exp(-x * [1, -1, -1]))) for x in logits]
    expected = [-log_p[0].sum(), -log_p[1][:2].sum()]
    found = layer.losses(contexts, rows, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_each_word_of_a_mean_gets_its_whole_gradient():
    layer = made_model()
    contexts, rows = tf.constant([[5, 1, 2]]), tf.constant([[4]])
    with tf.GradientTape() as tape:
        loss = layer.losses(contexts, rows, tf.constant([[1]]))
    table = layer.input_embeddings.value
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    p = 1 / (1 + np.exp(-layer(contexts, rows)[0, 0]))
    expected = np.zeros([6, 3])
    expected[[5, 1, 2]] = (p - 1) * layer.output_embeddings.numpy()[4]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_initial_tables_are_the_originals():
    config = word2vec.Word2vecConfig(900, 5)
    layer = word2vec.Word2vecModel(config, seed=1)
    layer.build()
    found = layer.input_embeddings.numpy()
    assert 0.0999 < found.max() < 0.1
    assert -0.1 <= found.min() < -0.0999
    assert not layer.output_embeddings.numpy().any()
    names = [variable.path for variable in layer.variables]
    assert names == [word2vec.INPUTS, word2vec.OUTPUTS]


@pytest.mark.parametrize("negative", [0, 2])
def test_a_word_is_predicted_by_itself_and_by_its_way_down_the_tree(negative):
    counts = np.array([9, 8, 4, 2, 1])
    config = word2vec.Word2vecConfig(5, 3, negative=negative, hs=True)
    found = word2vec.targets(config, counts)
    code, first = word2vec.huffman_code(counts), config.first_node
    assert first == (5 if negative else 0)
    for word in range(5):
        way = slice(code.starts[word], code.starts[word + 1])
        rows = ([word] if negative else []) + (code.nodes[way] + first).tolist()
        labels = ([1] if negative else []) + (1 - code.codes[way]).tolist()
        rest = [-1] * (found.rows.shape[1] - len(rows))
        assert found.rows[word].tolist() == rows + rest
        assert found.labels[word].tolist() == labels + rest
    assert found.rows.max() == config.output_shape[0] - 1


def test_a_model_is_made_again_from_its_config():
    layer = made_model(cbow=False, hs=True)
    again = word2vec.Word2vecModel.from_config(layer.get_config())
    again.build()
    assert again.config == layer.config
    np.testing.assert_array_equal(again.input_embeddings, layer.input_embeddings)
    with pytest.raises(UserError, match=r"unknown key\(s\) size"):
        word2vec.Word2vecConfig.from_dict({"vocab_size": 7, "size": 3})
