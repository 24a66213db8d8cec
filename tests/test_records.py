"""Of every system: what is written into records is what was declared of them."""

import concurrent.futures
import contextlib
import math

import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_squad
import tiny_systems
import tiny_tagging
from absl import flags

import registry
from data_pipeline.corpora import parallel
from data_pipeline.feature_spec import INDEX, FeatureSpec
from data_pipeline.readers import conll, squad
from data_pipeline.readers.examples import InputExample, MultipleChoiceExample
from data_pipeline.squad import features as squad_features
from errors import UserError
from systems.classification_config import ClassificationConfig

KINDS = {tf.int64: "int64_list", tf.float32: "float_list", tf.string: "bytes_list"}
LENGTH = 24
# Ways to make records of a system that a flag chooses.
OTHER_WAYS = [("bert", "--compatible"), ("bert", "--padded_records")]


@pytest.fixture
def threads(monkeypatch):
    """Lets threads do the work of processes, which would all load TensorFlow."""

    @contextlib.contextmanager
    def start(number, prepare=None, arguments=()):
        with concurrent.futures.ThreadPoolExecutor(number, "", prepare, arguments) as p:
            yield p

    monkeypatch.setattr(parallel, "worker_processes", start)


def check(records, spec):
    """Asserts that records hold what `spec` declares, and are read back."""
    assert records
    for record in records:
        stored = dict(tf.train.Example.FromString(record).features.feature)
        stored.pop(INDEX, None)
        mask = stored.pop(spec.mask_feature, None)
        assert set(stored) == {feature.name for feature in spec.features}
        for feature in spec.features:
            kind = stored[feature.name].WhichOneof("kind")
            assert kind == KINDS[feature.stored_dtype], feature.name
            number = len(getattr(stored[feature.name], kind).value)
            if not feature.varies:
                assert number == math.prod(feature.shape), feature.name
                continue
            assert number % math.prod(feature.shape[1:]) == 0, feature.name
            assert feature.pad_to is None or number <= feature.pad_to, feature.name
            if feature.name == spec.length_feature and mask:
                assert number == len(mask.int64_list.value)
    columns, lengths = spec.parse(tf.constant(records))
    assert set(columns) >= {feature.name for feature in spec.features}
    assert 0 < lengths.numpy().min() <= lengths.numpy().max() <= LENGTH


def read(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def test_every_system_has_a_tiny_model():
    assert set(tiny_systems.WRITE_MODEL) == set(registry.model_types())


@pytest.mark.parametrize(
    ("model_type", "flag"),
    [*((name, None) for name in registry.model_types("makes_records")), *OTHER_WAYS],
)
def test_pretraining_records_are_what_their_maker_declares(
    tmp_path, threads, model_type, flag
):
    lines = [" ".join(tiny.WORDS[i : i + 5]) for i in range(25)]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines[:11] + [""] + lines[11:]) + "\n")
    shared = (f"--model_type={model_type}", f"--input_file={text}")
    vocab, output = tmp_path / "vocab.json", tmp_path / "records"
    if model_type == "xlm":  # texts and records of a language
        pytest.importorskip("sacremoses")
        shared = ("--model_type=xlm", "--languages=en", f"--input_file=en:{text}")
        vocab = tmp_path / "vocab"
    scripts.run("create_vocab", *shared, f"--output_file={vocab}", "--min_frequency=1")
    sizes = (f"--max_seq_length={LENGTH}", "--num_workers=1")
    more = (
        f"--vocab_file={vocab}",
        f"--output_file={output}",
        *filter(None, [flag]),
    )
    scripts.run("create_pretraining_data", *shared, *sizes, *more)

    options = flags.FLAGS.flag_values_dict()
    declared = registry.need(model_type, "makes_records").features(options)
    (written,) = tmp_path.glob("records*")
    check(read(written), FeatureSpec(declared))
    scripts.load("run_pretraining")
    kind = registry.need(model_type, "pretrains")
    given = {name: flags.FLAGS[name].default for name in kind.options}
    system = tiny_systems.make(model_type, tmp_path / "model")
    assert set(kind(system, LENGTH, **given).feature_spec.features) <= set(declared)


def examples(output_kind):
    """Texts, pairs of texts and a long one, with labels of a kind."""
    texts = [("word1 good", None), ("word2 word3", "bad"), ("word4 " * 40, "word5")]
    if output_kind == "multiple_choice":
        return [
            MultipleChoiceExample(str(i), a, None, "1", (b or "word6", "good word7"))
            for i, (a, b) in enumerate(texts)
        ]
    label = {"regression": 0.5, "multi_label": ("0", "2")}.get(output_kind, "1")
    return [InputExample(str(i), *pair, label) for i, pair in enumerate(texts)]


CLASSIFIERS = [
    (name, kind)
    for name in registry.model_types("classifies")
    for kind in ClassificationConfig.choices["output_kind"]
]


@pytest.mark.parametrize(("model_type", "output_kind"), CLASSIFIERS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_classifiers_records_are_what_its_spec_declares(
    tmp_path, model_type, output_kind, symmetric
):
    can = tiny_systems.make(model_type, tmp_path / "model").need("classifies")
    labels = () if output_kind == "regression" else ("0", "1", "2")
    config = ClassificationConfig(
        task_name="tiny",
        output_kind=output_kind,
        labels=labels[:2] if output_kind == "multiple_choice" else labels,
        metrics=("accuracy",),
        main_metric="accuracy",
        max_seq_length=LENGTH,
        do_lower_case=True,
        symmetric=symmetric and output_kind != "multiple_choice",
    )
    if output_kind == "multiple_choice" and not can.chooses:
        with pytest.raises(UserError, match=f"{model_type} does not do: .* takes gpt"):
            can.check(config)
        return
    spec = can.spec(config)
    columns = can.columns(examples(output_kind), config)
    check(list(columns.records(spec)), spec)


@pytest.mark.parametrize("model_type", registry.model_types("tags"))
def test_a_taggers_records_are_what_its_spec_declares(tmp_path, model_type):
    path = tmp_path / "text.txt"
    path.write_text(tiny_tagging.columns(tiny_tagging.sentences(9, longest=40)))
    text = conll.read(str(path), "conll", scheme="BIO")
    can = tiny_systems.make(model_type, tmp_path / "model").need("tags")
    tag_ids = conll.tag_ids(text, "BIO", ["O", "B-PER", "I-PER", "B-LOC"])
    columns = can.columns(text, tag_ids, LENGTH)
    assert columns.split_sentences
    check(list(columns.records(can.spec)), can.spec)


@pytest.mark.parametrize("model_type", registry.model_types("answers"))
@pytest.mark.parametrize("is_training", [False, True])
def test_windows_of_questions_are_what_their_spec_declares(
    tmp_path, model_type, is_training
):
    tiny_squad.write(tmp_path)
    found = squad.read_squad_examples(str(tmp_path / "train.json"), is_training)
    can = tiny_systems.make(model_type, tmp_path / "model").need("answers")
    config = squad_features.WindowConfig(LENGTH, 6, 4)
    cached = squad_features.cached_features(
        str(tmp_path / "train"), found.examples, can.tokenizer, {}, config
    )
    check(read(cached.path), squad_features.RECORD_SPEC)
