"""serve.py: bert-serving-start's flags, and the process as its clients find it."""

import dataclasses
import itertools
import json
import signal
import socket
import sys
import urllib.request

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_folders
import tiny_systems
from bert_serving.client import BertClient

import command_line
import modeling
import registry
import word2bert
import word_rules
from checkpoints import google_bert
from convert_checkpoint import convert
from errors import MissingExtra, UserError
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from serving import server, works
from serving.engine import Engine, Limits
from systems.bert import BertSystem
from systems.multitask_config import MultitaskConfig, PartConfig
from tasks.multitask import MultitaskTask
from tasks.span import SpanConfig, SpanTask
from tasks.tagging import TaggingConfig, TaggingTask

pytestmark = pytest.mark.long

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)
TEXTS = ["word1 good", "bad", "word2 word3 nonsense ||| good word4"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    vocab, _ = tiny.write_model(folder)
    variables = modeling.named_variables(modeling.BertModel(CONFIG, seed=5))
    tensors = {name: variable.numpy() for name, variable in variables.items()}
    google_bert.save_folder(str(folder), tensors, CONFIG, vocab, True)
    return folder


@pytest.fixture(autouse=True)
def flags():
    yield
    scripts.forget_flags()


def extractor(model, **config):
    config = {"max_seq_length": 24, "layers": (-2,), **config}
    system = BertSystem(CONFIG, str(model / "vocab.txt"), init_checkpoint=str(model))
    return FeatureExtractor(ExtractionConfig(**config), system)


def encode(work, texts):
    (asked,) = work.read([texts])
    values = [work.run([row], 1)[0] for row in asked.rows]
    return asked.join(values)


def read_flags(*words):
    """Reads a command line as the script does."""
    serve = scripts.load("serve")
    command_line.parse_flags(serve.spread(["serve", *words]), serve.check_flags)
    return serve


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_vectors_are_those_of_extract_features(model):
    made = extractor(model, pooling="mean")
    found = encode(works.Vectors(made), TEXTS)
    wanted = np.stack([row.values for row in made.extract(TEXTS)])
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-5)
    assert found.tokens()[0] == ("[CLS]", "word1", "good", "[SEP]")
    assert found.num_tokens == 4 + 3 + 8
    pieces = [text.split() for text in TEXTS]
    given = encode(works.Vectors(made, dtype="float16"), pieces)
    assert given.vectors.dtype == np.float16
    np.testing.assert_allclose(given.vectors, wanted, atol=2e-3)


@pytest.mark.parametrize(("fixed", "longest"), [(None, 8), (24, 24)])
def test_vectors_of_pieces_are_filled_up_with_zeros(model, fixed, longest):
    made = extractor(
        model, pooling="none", layer_combination="concat", mask_cls_sep=True
    )
    found = encode(works.Vectors(made, fixed_length=fixed), TEXTS).vectors
    assert found.shape == (3, longest, 15)
    real = [[0, 1, 1, 0], [0, 1, 0], [0, 1, 1, 1, 0, 1, 1, 0]]
    for row, pieces in zip(found, real, strict=True):
        assert row.any(axis=-1).astype(int).tolist()[: len(pieces)] == pieces
        assert not row[len(pieces) :].any()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Makes a folder as of a training, of a kind of task; random weights."""

    def make(task):
        folder = tmp_path_factory.mktemp("trained")
        model = task.build_model(dtype="float32", fused=False, seed=3)
        variables = modeling.named_variables(model)
        tensors = {name: variable.numpy() for name, variable in variables.items()}
        task.save_beside(str(folder))
        vocab = str(folder / "vocab.txt")
        google_bert.save_folder(str(folder), tensors, task.system.config, vocab, True)
        return folder, model

    return make


def answered(folder, texts, *flags):
    """What serve.py makes of a folder answers."""
    serve = read_flags("-model_dir", str(folder), *flags)
    work = serve.find_answers(serve.find_system())
    (asked,) = work.read([texts])
    if isinstance(asked, UserError):
        raise asked
    values = work.run(asked.rows, len(asked.rows) + 1)
    return work.verb, asked.join(values[: len(asked.rows)])


def test_a_trained_classifier_classifies(trained, tmp_path):
    folder, model = trained(tiny.task(tmp_path))
    verb, found = answered(folder, TEXTS[:2])
    assert verb == "classify"
    pieces = [["[CLS]", *text.split(), "[SEP]"] for text in TEXTS[:2]]
    for words, label, shares in zip(
        pieces, found["labels"], found["probabilities"], strict=True
    ):
        ids = tf.constant([[tiny.VOCAB.index(word) for word in words]])
        wanted = tf.nn.softmax(model(ids))[0].numpy()
        np.testing.assert_allclose(shares, wanted, atol=1e-5)
        assert label == ("bad", "good")[int(wanted.argmax())]


def test_a_trained_tagger_tags_and_a_reader_answers(trained, tmp_path):
    config = TaggingConfig(("O", "B-X"), "BIO", "BIO", False, 16, True)
    folder, _ = trained(TaggingTask(config, tiny.system(tmp_path)))
    sentences = [["word1", "good", "bad"], ["word2"]]
    verb, found = answered(folder, sentences)
    assert (verb, [len(tags) for tags in found["tags"]]) == ("tag", [3, 1])
    assert {tag for tags in found["tags"] for tag in tags} <= {"O", "B-X"}
    config = SpanConfig(max_seq_length=24, max_query_length=8, doc_stride=8)
    folder, _ = trained(SpanTask(config, tiny.system(tmp_path)))
    context = "word1 word2 good word3"
    verb, found = answered(folder, [["word4", context], ["bad", "word5"]])
    assert verb == "answer"
    assert found["answers"][0] in context
    assert len(found["scores"]) == 2
    with pytest.raises(UserError, match="2 texts together"):
        answered(folder, ["alone"])


def test_documents_are_read_whole_up_to_what_a_batch_has_room_for(
    tmp_path, monkeypatch
):
    folder = tiny_folders.classifier("ulmfit", tmp_path)
    words = " ".join(f"word{i % 30} bad" for i in range(20))  # --max_seq_length=24
    verb, found = answered(folder, ["good", words], "-max_batch_tokens=100")
    wanted = word2bert.load(folder).classify(["good", words])
    assert verb == "classify"
    assert found["labels"] == wanted["labels"].tolist()
    with pytest.raises(UserError, match="text 1 has [0-9]+ units; --max_batch_tokens"):
        answered(folder, ["good", 3 * words], "-max_batch_tokens=100")
    serve = read_flags("-model_dir", str(folder), "-max_batch_tokens=100")
    work = serve.find_answers(serve.find_system())
    with monkeypatch.context() as patch:
        said = set()
        patch.setattr(word_rules, "_said", said)
        work.warm_up(Limits(max_batch_size=2, max_batch_tokens=100))
        assert not said  # its own words, which the vocabulary has not, do not count
        work.read([["never seen " * 20]] * 3)
        assert said == {"tokenizer"}


def test_a_classifier_of_several_languages_is_told_one(tmp_path):
    folder = tiny_folders.classifier("xlm", tmp_path, language=None)
    wanted = word2bert.load(folder, language="de").classify(TEXTS[:2])
    verb, found = answered(folder, TEXTS[:2], "--language=de")
    assert (verb, found["labels"]) == ("classify", wanted["labels"].tolist())


@pytest.mark.parametrize(("told", "read"), [((), "en"), (("--language=de",), "de")])
def test_texts_are_in_the_trainings_language_if_no_other_is_told(told, read, tmp_path):
    folder = tiny_folders.classifier("xlm", tmp_path, language="en")
    serve = read_flags("-model_dir", str(folder), *told)
    assert serve.find_system().told_language() == read


def test_a_folder_without_a_task_answers_nothing(model):
    serve = read_flags("-model_dir", str(model))
    assert serve.find_answers(serve.find_system()) is None


def test_a_model_of_several_tasks_answers_for_all(trained, tmp_path):
    shared = {"max_seq_length": 24, "do_lower_case": True}
    one = PartConfig(
        "one", "single_label", ("bad", "good"), ("accuracy",), "accuracy", **shared
    )
    score = PartConfig("score", "regression", (), ("pearson",), "pearson", **shared)
    config = MultitaskConfig(24, True, (one, score))
    folder, _ = trained(MultitaskTask(config, tiny.system(tmp_path)))
    verb, found = answered(folder, [TEXTS[0], [TEXTS[0], TEXTS[1]]])
    assert verb == "classify"
    assert set(found["one/labels"]) <= {"bad", "good"}
    assert len(found["score/scores"]) == 2


def test_a_classifier_in_hugging_faces_files_classifies(trained, tmp_path):
    folder, _ = trained(tiny.task(tmp_path))
    convert(str(folder), str(tmp_path / "theirs"), "huggingface")
    verb, found = answered(tmp_path / "theirs", TEXTS[:2])
    wanted = answered(folder, TEXTS[:2])[1]
    assert (verb, found["labels"]) == ("classify", wanted["labels"])
    np.testing.assert_allclose(
        found["probabilities"], wanted["probabilities"], atol=1e-5
    )


def test_a_batch_must_hold_the_longest_text(model):
    made = works.Vectors(extractor(model, pooling="mean"))
    with pytest.raises(UserError, match="max_batch_tokens=20 is less than the 24"):
        made.warm_up(Limits(max_batch_tokens=20))


@pytest.mark.parametrize(
    ("name", "number", "pooling"),
    [
        ("NONE", 0, "none"),
        ("REDUCE_MAX", 1, "max"),
        ("REDUCE_MEAN", 2, "mean"),
        ("REDUCE_MEAN_MAX", 3, "mean_max"),
        ("FIRST_TOKEN", 4, "cls"),
        ("CLS_TOKEN", 4, "cls"),
        ("LAST_TOKEN", 5, "last"),
        ("SEP_TOKEN", 5, "last"),
        ("cls_pooled", 6, "cls_pooled"),
    ],
)
def test_strategies_have_the_originals_names_and_numbers(model, name, number, pooling):
    words = ("-model_dir", str(model), "-pooling_strategy", name)
    serve = read_flags(*words, "-pooling_layer", "-1", "-2", "-port", "7")
    assert serve.settings()["pooling_strategy"] == number
    assert serve.settings()["pooling_layer"] == [-1, -2]
    config = serve.extraction_config(serve.find_system())
    assert config.pooling == pooling
    assert config.layers == (None if number == 6 else (-1, -2))


def test_defaults_are_the_originals(model):
    serve = read_flags("-model_dir", str(model))
    told = serve.settings()
    for name, value in {
        "max_seq_len": 25,
        "port": 5555,
        "port_out": 5556,
        "pooling_layer": [-2],
        "pooling_strategy": 2,
        "max_batch_size": 256,
        "priority_batch_size": 16,
        "show_tokens_to_client": False,
        "server_version": "1.10.0",
    }.items():
        assert told[name] == value, name
    config = serve.extraction_config(serve.find_system())
    assert (config.layers, config.max_seq_length) == ((-2,), 25)


@pytest.mark.parametrize(
    ("model_type", "layers"), [("gpt", (-1,)), ("elmo", (-1,)), ("ulmfit", (-1,))]
)
def test_other_systems_give_a_layer_that_they_have(model_type, layers, tmp_path):
    system = tiny_systems.make(model_type, tmp_path)
    serve = read_flags("-model_dir=x", "-pooling_strategy=CLS_TOKEN", "-max_seq_len=5")
    config = serve.extraction_config(system)
    assert config.pooling == "first"
    assert config.layers in (layers, (-2,) * (system.need("extracts").depth > 1))


@pytest.mark.parametrize("model_type", sorted(registry.model_types("extracts")))
def test_the_units_of_a_text_are_read_as_the_text_is(model_type, tmp_path):
    source = tiny_systems.make(model_type, tmp_path).need("extracts")
    (line,) = source.lines(["good word1 bad"], 9, False)
    units = list(itertools.compress(source.tokens(line), line.content))
    (given,) = source.lines_of_units([units], 9)
    assert list(source.tokens(given)) == list(source.tokens(line))
    (strange,) = source.lines_of_units([["good", "never-seen", *units]], 9)
    assert len(strange.content) == len(line.content) + 2
    row = [(strange, strange.windows[0])]
    assert source.batch(row, len(strange.content))["input_ids"].shape[0] == 1


@pytest.mark.parametrize("model_type", sorted(registry.model_types("extracts")))
@pytest.mark.parametrize("strategy", ["REDUCE_MEAN", "NONE"])
def test_texts_of_many_requests_are_computed_together(model_type, strategy, tmp_path):
    system = tiny_systems.make(model_type, tmp_path)
    serve = read_flags("-model_dir=x", "-pooling_strategy", strategy, "-max_seq_len=8")
    made = FeatureExtractor(serve.extraction_config(system), system)
    work = works.Vectors(made)
    limits = Limits(max_batch_size=4, max_batch_tokens=64)
    work.warm_up(limits)
    engine = Engine(limits)
    requests = [["good", "good word1 bad"], [["word2", "good"]], ["bad bad bad bad"]]
    asked = work.read(requests)
    futures = [engine.submit(work, a.rows, a.lengths) for a in asked]
    for texts, one, future in zip(requests, asked, futures, strict=True):
        found = one.join(future.result(60)).vectors
        for text, vector in zip(texts, found, strict=True):
            alone = encode(work, [text]).vectors[0]
            np.testing.assert_allclose(vector[: len(alone)], alone, atol=1e-5)
    engine.stop()


def test_a_few_cores_compute_a_batch_each(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    spread = []
    for name, found in (
        ("get_visible_devices", lambda kind: []),
        ("threading.set_intra_op_parallelism_threads", spread.append),
    ):
        monkeypatch.setattr(f"tensorflow.config.{name}", found)
    for cores, words in ((2, []), (16, []), (8, ["-num_worker=2"])):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)))
        spread.append(read_flags("-model_dir=x", *words).num_workers())
        scripts.forget_flags()
    # Operations are spread over 1, 4 and 4 cores, in 2, 4 and 2 threads.
    assert spread == [1, 2, 4, 4, 4, 2]


def test_lengths_are_what_the_model_can_read(model):
    serve = read_flags("-model_dir", str(model), "-max_seq_len", "NONE")
    assert serve.settings()["max_seq_len"] is None
    assert serve.longest_text(serve.find_system()) == 40
    serve = read_flags("-model_dir", str(model), "-max_seq_len", "41")
    with pytest.raises(UserError, match="-max_seq_len=41, but the model has only"):
        serve.longest_text(serve.find_system())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-max_seq_len=3"], "-max_seq_len=3: wanted a number above 3, or NONE"),
        (["-max_seq_len=-5"], "-max_seq_len=-5: wanted"),
        (["-pooling_layer=last"], "-pooling_layer=last: wanted whole numbers"),
        (["-port=5556"], "-port and -port_out are both 5556"),
        (["-http_port=5555"], "-port and -http_port are both 5555"),
        (["--api_key_file=k"], "--api_key_file is of HTTP, which only -http_port"),
        (["-fp16", "--mixed_precision=bfloat16"], "-fp16 and .* exclude"),
        (["-fixed_embed_length"], "-fixed_embed_length is for -max_seq_len NONE"),
        (
            ["-num_worker=2", "--distribution_strategy=mirrored"],
            "-num_worker=2, but --distribution_strategy=mirrored computes one batch",
        ),
        (["--max_waiting_texts=9"], "=9 is less than --max_request_texts=8192"),
        (["-pooling_strategy=MEDIAN"], "pooling_strategy=MEDIAN"),
        (["-no_special_token"], "-no_special_token: encoders are trained with"),
        (["-no_position_embeddings"], "-no_position_embeddings: an encoder without"),
    ],
)
def test_wrong_flags_are_told_together(words, message):
    with pytest.raises(UserError, match=message):
        read_flags("-model_dir=x", *words)


def test_a_package_that_is_missing_is_named(monkeypatch):
    serve = read_flags("-model_dir=x")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "serving.http", raising=False)
    monkeypatch.delattr(sys.modules["serving"], "http", raising=False)
    with pytest.raises(MissingExtra, match=r"needs the package uvicorn.*\[serve\]"):
        serve.main([])


def test_keys_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "keys"
    words = ("-model_dir=a/b/", "-http_port=7", f"--api_key_file={path}")
    serve = read_flags(*words)
    path.write_text("one\n\ntwo\n")
    assert serve.api_keys() == ["one", "two"]
    assert serve.model_name() == "b"
    path.write_text("\n")
    with pytest.raises(UserError, match="there is no key in it"):
        serve.api_keys()


def test_a_port_that_is_taken_is_told_with_its_flag():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"-port={port} .*already in use; give"):
            server.check_free("127.0.0.1", port, "port")
    with pytest.raises(UserError, match="-port=0 at --host=192.0.2.1"):
        server.check_free("192.0.2.1", 0, "port")


def test_the_process_serves_the_client_and_ends_as_it_is_told(model, tmp_path):
    port, port_out, http_port = free_port(), free_port(), free_port()
    words = ["-model_dir", model, "-port", port, "-port_out", port_out]
    words += ["-http_port", http_port, "-xla", "-max_batch_size", 2]
    words += ["-show_tokens_to_client", "-pooling_layer", "-1", "-2", "-max_seq_len"]
    command = [sys.executable, str(tiny.ROOT / "serve.py"), *words, "24"]
    with (tmp_path / "log").open("w") as log:
        process = forks.start(command, stderr=log)
    try:
        with BertClient(port=port, port_out=port_out, timeout=60_000) as client:
            found, tokens = client.encode(TEXTS, show_tokens=True)
        url = f"http://127.0.0.1:{http_port}/encode"
        body = json.dumps({"texts": TEXTS}).encode()
        with urllib.request.urlopen(url, body) as answer:
            over_http = json.load(answer)["result"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert tokens[1] == ["[CLS]", "bad", "[SEP]"]
    made = extractor(model, layers=(-1, -2), pooling="mean")
    wanted = np.stack([row.values for row in made.extract(TEXTS)])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(over_http, wanted, atol=1e-5)
    told = (tmp_path / "log").read_text()
    assert f"-port {port}, -port_out {port_out}, -http_port {http_port}" in told
    assert "-xla has no effect here: what XLA makes faster is always compiled" in told
    assert "answers what is waiting, and ends" in told
