"""A harness that puts every layer through the same promises, then each one's own."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from modeling.layers import (
    activations,
    attention,
    base,
    dense,
    dropout,
    embeddings,
    graphs,
    heads,
    masking,
    transformer,
)

pytestmark = [pytest.mark.compiled, pytest.mark.long]

# B batch, S length, N heads, D head size, F intermediate, V vocabulary; H = N * D.
B, S, N, D, F, V = 2, 7, 3, 5, 11, 23
H = N * D
LENGTHS = (7, 4)


def _normal(*shape):
    return tf.constant(np.random.default_rng(len(shape)).normal(size=shape), tf.float32)


def _ids(high, *shape):
    return tf.constant(np.random.default_rng(1).integers(0, high, shape), tf.int32)


def _mask():
    return tf.sequence_mask(LENGTHS, S, dtype=tf.int32)


def _bias():
    return masking.padding_bias(_mask())


WIDE = {"initializer_range": 0.5, "seed": 4}
# name -> (constructor, positional arguments, keyword arguments, inputs)
CASES = {
    "Dense": (dense.Dense, [F], {}, lambda: [_normal(B, H)]),
    "LayerNorm": (dense.LayerNorm, [1e-6], {}, lambda: [_normal(B, H)]),
    "SelfAttention": (
        attention.SelfAttention,
        [H, N, 0.1],
        {},
        lambda: [_normal(B * S, H), _bias()],
    ),
    "ResidualOutput": (
        transformer.ResidualOutput,
        [H, 0.1],
        {"epsilon": 1e-6},
        lambda: [_normal(B * S, F), _normal(B * S, H)],
    ),
    "Attention": (
        transformer.Attention,
        [H, N, 0.1, 0.2],
        {"epsilon": 1e-6},
        lambda: [_normal(B * S, H), _bias()],
    ),
    "Intermediate": (
        transformer.Intermediate,
        [F, "gelu_tanh"],
        {},
        lambda: [_normal(B * S, H)],
    ),
    "TransformerBlock": (
        transformer.TransformerBlock,
        [H, N, F, "gelu_erf", 0.1, 0.2],
        {"epsilon": 1e-6},
        lambda: [_normal(B * S, H), _bias()],
    ),
    "Encoder": (
        transformer.Encoder,
        [2, H, N, F, "relu", 0.1, 0.2],
        {"epsilon": 1e-6},
        lambda: [_normal(B * S, H), _bias()],
    ),
    "Embeddings": (
        embeddings.Embeddings,
        [V, H, 3, 9, 0.1],
        {"epsilon": 1e-6},
        lambda: [_ids(V, B, S), _ids(3, B, S)],
    ),
    "Pooler": (heads.Pooler, [H], {}, lambda: [_normal(B, S, H)]),
    "OutputProjection": (heads.OutputProjection, [4], {}, lambda: [_normal(B, H)]),
    "Transform": (
        heads.Transform,
        [H, "tanh"],
        {"epsilon": 1e-6},
        lambda: [_normal(B, H)],
    ),
    "MaskedLanguageModel": (
        heads.MaskedLanguageModel,
        [V, H, "gelu_tanh"],
        {"epsilon": 1e-6},
        lambda: [_normal(B, S, H), _ids(S, B, 3), _normal(V, H)],
    ),
    "PreTrainingHeads": (
        heads.PreTrainingHeads,
        [V, H, "gelu_tanh"],
        {"epsilon": 1e-6},
        lambda: [_normal(B, S, H), _normal(B, H), _ids(S, B, 3), _normal(V, H)],
    ),
}
HAVE_DROPOUT = [name for name, case in CASES.items() if 0.1 in case[1]]
# Layers with a second way of computing; the other ones only stack them.
FUSED = ["SelfAttention", "ResidualOutput", "Embeddings", "TransformerBlock"]


def make(name, **kwargs):
    """Builds a layer of the harness.

    Args:
      name: a key of `CASES`.
      **kwargs: more constructor arguments.

    Returns:
      The built layer and its inputs.
    """
    constructor, args, extra, inputs = CASES[name]
    layer = constructor(*args, **{**WIDE, "name": "it", **extra, **kwargs})
    inputs = inputs()
    layer.build(inputs[0].shape)
    return layer, inputs


def flat(outputs):
    """Returns the outputs of a layer as a list of float32 arrays."""
    return [tf.cast(x, tf.float32).numpy() for x in tf.nest.flatten(outputs)]


def assert_close(got, wanted, tolerance):
    """Compares the outputs of two layers."""
    for a, b in zip(flat(got), flat(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_made_from_its_config_computes_the_same(name):
    layer, inputs = make(name)
    config = layer.get_config()
    twin = type(layer).from_config(config)
    twin.build(inputs[0].shape)
    assert twin.get_config() == config
    assert_close(twin(*inputs), layer(*inputs), 0)


@pytest.mark.parametrize("name", CASES)
def test_building_makes_all_variables_and_calling_makes_none(name):
    layer, inputs = make(name)
    before = list(base.named_variables(layer))
    assert before
    layer(*inputs)
    assert list(base.named_variables(layer)) == before


@pytest.mark.parametrize("name", CASES)
def test_every_variable_gets_a_gradient(name):
    layer, inputs = make(name)
    variables = base.named_variables(layer)
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(layer(*inputs))
        loss = tf.add_n([tf.reduce_sum(x * _normal(*x.shape)) for x in outputs])
    gradients = tape.gradient(loss, [v.value for v in variables.values()])
    for path, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, path
        if "key/bias" not in path:  # truly 0: softmax ignores a shift of the scores
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-4, path


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_computes_what_eager_mode_does(name, jit_compile):
    layer, inputs = make(name)
    compiled = tf.function(lambda *x: layer(*x), jit_compile=jit_compile)
    assert_close(compiled(*inputs), layer(*inputs), 2e-5)


@pytest.mark.parametrize("name", CASES)
def test_mixed_precision_keeps_variables_float32_and_comes_near(name):
    layer, inputs = make(name)
    mixed, _ = make(name, dtype="mixed_bfloat16")
    for path, variable in base.named_variables(mixed).items():
        assert variable.value.dtype == tf.float32, path
    assert_close(mixed(*inputs), layer(*inputs), 0.1)


def outputs_and_gradients(layer, inputs, seed):
    """Runs a layer both ways, with dropout."""
    variables = [v.value for v in layer.variables]
    inputs = [tf.identity(x) for x in inputs]
    # A mask's bias (rank 4) is a constant: the clusters have no gradient for it.
    watched = variables + [x for x in inputs if x.dtype.is_floating and x.ndim < 4]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        seed = {} if seed is None else {"dropout_seed": seed}
        outputs = tf.nest.flatten(layer(*inputs, **seed))
        loss = tf.add_n([tf.reduce_sum(x * _normal(*x.shape)) for x in outputs])
    gradients = tape.gradient(loss, watched, unconnected_gradients="zero")
    return outputs, [tf.convert_to_tensor(x) for x in gradients]


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("seed", [None, [3, 4]])
@pytest.mark.parametrize("jit_compile", [None, True])
def test_fused_clusters_equal_the_plain_layer(name, seed, jit_compile):
    plain, inputs = make(name)
    fused, _ = make(name, fused=True)
    for variable in plain.variables:
        if variable.name in ("bias", "beta"):
            variable.assign(_normal(*variable.shape))
    for a, b in zip(fused.variables, plain.variables, strict=True):
        a.assign(b)
    seed = None if seed is None else tf.constant(seed)
    wanted = outputs_and_gradients(plain, inputs, seed)
    run = outputs_and_gradients
    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile)
    assert_close(run(fused, inputs, seed), wanted, 5e-5)


def test_fused_clusters_equal_the_plain_layer_at_widths_that_are_added_by_halves():
    block = {"hidden_size": 96, "num_heads": 2, "intermediate_size": 64}
    block |= {"activation": "gelu_erf", "name": "it", "dropout_rate": 0.1}
    inputs = [_normal(32, 96), masking.padding_bias(tf.ones([1, 32], tf.int32))]
    results = []
    for fused in (False, True):
        layer = transformer.TransformerBlock(**block, **WIDE, fused=fused)
        layer.build([None, 96])
        seed = tf.constant([5, 6])
        results.append(outputs_and_gradients(layer, inputs, seed))
    assert_close(*results, 2e-4)


def compiled_clusters(num_layers, **kwargs):
    """Returns the names of the XLA functions in a training graph of an encoder."""
    _, args, extra, inputs = CASES["Encoder"]
    encoder = transformer.Encoder(num_layers, *args[1:], **extra, **kwargs)
    encoder.build([None, H])
    run = tf.function(lambda *x: outputs_and_gradients(encoder, x[:2], x[2]))
    graph = run.get_concrete_function(*inputs(), tf.constant([1, 2])).graph
    library = graph.as_graph_def().library.function
    return {f.signature.name for f in library if f.attr["_XlaMustCompile"].b}


def test_all_blocks_of_a_fused_encoder_share_their_clusters():
    one = compiled_clusters(1, fused=True)
    assert len(one) >= 6
    assert compiled_clusters(3, fused=True) == one


def test_a_plain_encoder_has_no_compiled_cluster():
    assert compiled_clusters(1) == set()


@pytest.mark.parametrize("name", HAVE_DROPOUT)
def test_dropout_is_decided_by_the_seed_alone(name):
    layer, inputs = make(name)
    runs = [
        flat(layer(*inputs, dropout_seed=None if seed is None else tf.constant(seed)))
        for seed in ([1, 2], [1, 2], [2, 2], None)
    ]
    assert_close(runs[0], runs[1], 0)
    for other in runs[2:]:
        assert np.abs(runs[0][-1] - other[-1]).max() > 0.01


def test_each_dropout_call_site_of_an_encoder_has_its_own_mask():
    encoder, _ = make("Encoder")
    sites = [x.site for x in encoder._flatten_layers() if hasattr(x, "site")]
    assert len(sites) == len(set(sites)) == 2 * 3


def test_initial_weights_follow_seed_and_name():
    weights = {
        (seed, name): dense.Dense(F, name=name, seed=seed, initializer_range=0.02)
        for seed in (0, 1)
        for name in ("one", "two")
    }
    for layer in weights.values():
        layer.build([None, 200])
    values = {key: layer.kernel.numpy() for key, layer in weights.items()}
    keys = list(values)
    for i, a in enumerate(keys):
        assert np.abs(values[a]).max() <= 0.04 + 1e-6  # truncated at two deviations
        assert 0.015 < values[a].std() < 0.02
        for b in keys[:i]:
            assert np.abs(np.corrcoef(values[a].ravel(), values[b].ravel())[0, 1]) < 0.1


def test_encoder_variables_have_released_names():
    encoder = transformer.Encoder(1, H, N, F, "relu", name="encoder")
    encoder.build([None, H])
    parts = ["attention/self/query", "attention/self/key", "attention/self/value"]
    parts += ["attention/output/dense", "intermediate/dense", "output/dense"]
    wanted = {f"encoder/layer_0/{p}/{v}" for p in parts for v in ("kernel", "bias")}
    for part in ("attention/output", "output"):
        wanted |= {f"encoder/layer_0/{part}/LayerNorm/{v}" for v in ("gamma", "beta")}
    assert set(base.named_variables(encoder)) == wanted


def test_two_variables_of_one_name_are_refused():
    layer = keras.layers.Layer(name="it")
    layer.add_weight(shape=[], name="twice")
    layer.add_weight(shape=[], name="twice")
    with pytest.raises(ValueError, match="it/twice"):
        base.named_variables(layer)


def test_self_attention_equals_the_equation():
    layer, (x, bias) = make("SelfAttention")
    x = x.numpy().astype(np.float64)
    heads_of = {}
    for name in ("query", "key", "value"):
        part = getattr(layer, name)
        part.bias.assign(_normal(H))
        y = x @ part.kernel.numpy() + part.bias.numpy()
        heads_of[name] = y.reshape(B, S, N, D)
    scores = np.einsum("bfnd,btnd->bnft", heads_of["query"], heads_of["key"])
    probs = scipy.special.softmax(scores / np.sqrt(D) + bias.numpy(), axis=-1)
    wanted = np.einsum("bnft,btnd->bfnd", probs, heads_of["value"])
    got = layer(tf.constant(x, tf.float32), bias).numpy()
    np.testing.assert_allclose(got, wanted.reshape(B * S, H), atol=2e-5)


def test_attention_drops_probabilities_not_values():
    layer, (x, bias) = make("SelfAttention")
    layer.value.kernel.assign(tf.zeros([H, H]))
    layer.value.bias.assign(tf.ones([H]))
    context = layer(x, bias, dropout_seed=tf.constant([1, 2])).numpy()
    # With values of 1 a head's output is the sum of its surviving probabilities.
    by_head = context.reshape(B * S, N, D)
    np.testing.assert_allclose(by_head, by_head[..., :1] * np.ones(D), rtol=1e-5)
    assert by_head.std() > 0.01


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="15 is not a multiple of num_heads 4"):
        attention.SelfAttention(15, 4)


def test_padding_never_changes_real_positions():
    encoder, (x, bias) = make("Encoder")
    whole = tf.reshape(encoder(x, bias)[-1], [B, S, H])
    short = LENGTHS[1]
    alone = tf.reshape(x, [B, S, H])[1, :short]
    alone = encoder(alone, masking.padding_bias(tf.ones([1, short], tf.int32)))[-1]
    np.testing.assert_allclose(whole[1, :short], alone, atol=1e-5)


def test_padding_bias_is_the_parents():
    bias = _bias()
    assert bias.shape == (B, 1, 1, S)
    assert bias.dtype == tf.float32
    wanted = np.where(np.arange(S) < np.array(LENGTHS)[:, None], 0, -10000)
    np.testing.assert_array_equal(bias[:, 0, 0], wanted)


def test_layer_norm_equals_the_equation():
    x, gamma, beta = _normal(3, H) * 4 + 2, _normal(H), _normal(H) + 1
    y = x.numpy().astype(np.float64)
    mean, deviation = y.mean(-1, keepdims=True), np.sqrt(y.var(-1, keepdims=True) + 0.1)
    wanted = gamma.numpy() * (y - mean) / deviation + beta.numpy()
    np.testing.assert_allclose(dense.layer_norm(x, gamma, beta, 0.1), wanted, atol=1e-5)


def test_layer_norm_statistics_stay_float32_under_mixed_precision():
    layer = dense.LayerNorm(1e-12, dtype="mixed_bfloat16")
    # In bfloat16 1000 + 1 is 1000: the variance would be 0.
    x = tf.constant([[1000.0, 1001.0, 1002.0, 1003.0]])
    layer.build(x.shape)
    wanted = (np.arange(4) - 1.5) / np.sqrt(1.25)
    np.testing.assert_allclose(tf.cast(layer(x), tf.float32)[0], wanted, atol=0.01)


def test_the_two_gelus_are_two_functions():
    x = np.linspace(-4, 4, 33)
    erf = activations.get_activation("gelu_erf")(tf.constant(x, tf.float32))
    tanh = activations.get_activation("gelu_tanh")(tf.constant(x, tf.float32))
    wanted = x * scipy.special.ndtr(x)
    np.testing.assert_allclose(erf, wanted, atol=1e-6)
    np.testing.assert_allclose(tanh, tf.nn.gelu(x, approximate=True), atol=1e-6)
    assert 1e-4 < np.abs(erf - tanh).max() < 1e-3


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="'mish'.*gelu_erf"):
        activations.get_activation("mish")


def test_embeddings_refuse_a_sequence_longer_than_the_position_table():
    layer, _ = make("Embeddings")
    ids = _ids(V, B, 10)
    with pytest.raises(ValueError, match=r"length 10.*max_position_embeddings 9"):
        layer(ids, ids * 0)


def test_embeddings_sum_word_segment_and_position():
    layer, (ids, segments) = make("Embeddings")
    total = layer.word_embeddings.numpy()[ids]
    total += layer.token_type_embeddings.numpy()[segments]
    total += layer.position_embeddings.numpy()[:S]
    total -= total.mean(-1, keepdims=True)
    total /= np.sqrt(total.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer(ids, segments), total.reshape(-1, H), atol=1e-5)


def test_dropout_site_ids_differ_between_paths():
    paths = [f"bert/encoder/layer_{i}/{p}" for i in range(24) for p in ("a", "output")]
    assert len({dropout.site_id(path) for path in paths}) == len(paths)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_model_that_is_only_asked_keeps_its_matrices(dtype):
    layer = attention.SelfAttention(H, N, dtype=dtype, **WIDE)
    x, bias = _normal(B * S, H), _bias()
    wanted = tf.cast(layer(x, bias), tf.float32)
    ask = tf.function(graphs.asks_only(lambda x: layer(x, bias)), autograph=False)
    first = ask(x)
    np.testing.assert_allclose(tf.cast(first, tf.float32), wanted, atol=2e-2)
    layer.key.kernel.assign(layer.key.kernel + 1)  # which is not to be done then
    np.testing.assert_array_equal(ask(x), first)
    assert np.abs(tf.cast(layer(x, bias), tf.float32) - wanted).max() > 0.1
    inputs = ask.get_concrete_function(x).graph.inputs
    assert sum(read.dtype == tf.resource for read in inputs) == 3  # biases


def test_weights_drawn_later_are_those_drawn_at_once_but_for_what_was_set():
    def layer():
        made = transformer.Intermediate(F, "relu", name="made", seed=3)
        made.build([None, H])
        return base.named_variables(made)

    wanted = layer()
    with base.drawn_later():
        put_off, loaded = layer(), layer()
    kernel = "made/dense/kernel"
    assert np.isnan(put_off[kernel].numpy()).all()
    loaded[kernel].assign(np.full([H, F], 0.25))
    for variables in (put_off, loaded):
        base.draw(variables.values())
    for name, variable in wanted.items():
        np.testing.assert_array_equal(put_off[name].numpy(), variable.numpy())
    np.testing.assert_array_equal(loaded[kernel].numpy(), 0.25)
