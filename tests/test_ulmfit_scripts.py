"""ULMFiT through the scripts, from text to classes; what its streams and rules are."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_gpt
import tiny_ulmfit

import checkpoints
import tokenization_ulmfit
from data_pipeline import tfrecord
from data_pipeline.corpora import document_streams, document_windows, token_streams
from data_pipeline.corpora.learners import MarkedWords
from data_pipeline.readers.examples import InputExample
from errors import UserError
from inference import export
from optimization.optimizers import OptimizerConfig
from systems.classification_config import ClassificationConfig
from systems.system import make_system
from tasks.classification import ClassificationTask
from tasks.ulmfit import UlmfitTask
from tokenization_ulmfit import MARKS_2018, SPECIAL, UlmfitTokenizer
from training.config import TrainingConfig
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).parent / "golden" / "ulmfit"
SIZES = ("--max_seq_length=24", "--train_batch_size=8", "--eval_batch_size=8")


@pytest.mark.parametrize(
    ("text", "wanted"), json.loads((GOLDEN / "rules.json").read_text())
)
def test_words_are_fastais(text, wanted):
    # spaCy keeps the space behind the end of a line with it.
    wanted = ["\n" if word.strip("▁") == "\n" else word for word in wanted]
    assert ["xxbos", *tokenization_ulmfit.tokens(text)] == wanted


def test_the_rules_of_2018_differ_in_marks_and_counts():
    found = tokenization_ulmfit.tokens(
        "NASA (USA) saw It!!! soooo the the the", MARKS_2018
    )
    wanted = "t_up nasa ( t_up usa ) saw it ! ! ! s tk_rep 4 o the the the"
    assert found == wanted.split()
    found = tokenization_ulmfit.tokens("wait... <unk>", MARKS_2018)
    assert found == ["wait", "...", "u_n"]
    tokenizer = UlmfitTokenizer(["_unk_", "_pad_", "xbos", "xfld", "1", "it"], "there")
    assert tokenizer.start == [2, 3, 4]
    assert tokenizer.ids(["It is"])[0].tolist() == [5, 0]


def test_decoding_undoes_the_marks_of_capitals():
    words = [*SPECIAL, "nasa", "went", "up"]
    tokenizer = UlmfitTokenizer(words, "there")
    ids, offsets = tokenizer.ids(["NASA Went up", ""])
    assert ids.tolist() == [7, 9, 8, 10, 11]
    assert offsets.tolist() == [0, 5, 5]
    assert tokenizer.decode(ids) == "NASA Went up"


def test_a_vocabulary_without_marks_or_with_a_word_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="there: none of 2 words is xxunk, or _unk_"):
        UlmfitTokenizer(["a", "b"], "there")
    path = tmp_path / "vocab.txt"
    path.write_text("xxunk\nthe\nxxfake\nxxfake\nthe\n")
    with pytest.raises(UserError, match='vocab.txt: "the" is word 2 and word 5'):
        tokenization_ulmfit.read_words(str(path))


def test_a_vocabulary_whose_lines_end_as_on_windows_is_the_same(tmp_path):
    words = [*SPECIAL, "the", "\n"]
    path = tmp_path / "vocab.txt"
    text = tokenization_ulmfit.file_text(words).replace("\n", "\r\n")
    path.write_bytes(text.encode())
    assert tokenization_ulmfit.read_words(str(path)) == words


def test_words_are_learnt_behind_the_marks_by_frequency():
    learner = MarkedWords(14, 2, True, 0)
    lines = ["The cat the dog", "THE dog the the\\nend end", "a bird"]
    learnt = learner.learn(learner.count(lines), "vocab.txt")
    kept = [*SPECIAL, "the", "dog", "end"]
    assert learnt.files["vocab.txt"] == tokenization_ulmfit.file_text(kept)
    assert list(learnt.files) == learner.outputs("vocab.txt")
    with pytest.raises(UserError, match="beside the 9 marks"):
        MarkedWords(14, 9, True, 0).learn(learner.count(lines), "vocab.txt")


def test_chinese_is_read_in_the_words_that_a_segmenter_finds(tmp_path):
    line, words = "我爱北京天安门, ok", ["北京", "天安门", "ok"]
    learner = MarkedWords(14, 1, True, 0, segmenter="jieba")
    assert set(learner.count([line])) >= {",", *words}
    vocab, text = tmp_path / "vocab.txt", tmp_path / "text.txt"
    vocab.write_text(tokenization_ulmfit.file_text([*SPECIAL, *words]))
    text.write_text(f"{line}\n\n")
    scripts.run(
        "create_pretraining_data",
        "--model_type=ulmfit",
        "--segmenter=jieba",
        "--num_workers=1",
        f"--vocab_file={vocab}",
        f"--input_file={text}",
        f"--output_file={tmp_path}/records",
    )
    known = [9, 10, 0, 11]
    assert read(f"{tmp_path}/records")[0][-5:] == [*known, 2]
    config = dataclasses.replace(tiny_ulmfit.CONFIG, segmenter="jieba", vocab_size=12)
    tokenizer = make_system(config, str(vocab)).tokenizer()
    assert tokenizer.ids([line])[0].tolist()[-4:] == known


DOCUMENTS = [list(range(20 * i, 20 * i + n)) for i, n in enumerate((7, 3, 12, 5), 1)]


def write_documents(folder, longest=100):
    """Writes documents whose words are numbers, and their records; returns these."""
    words = [*SPECIAL, *map(str, range(120))]
    (folder / "vocab.txt").write_text(tokenization_ulmfit.file_text(words))
    lines = []
    for document in DOCUMENTS:
        lines += [" ".join(map(str, document[:4])), " ".join(map(str, document[4:]))]
        lines += ["", ""]
    (folder / "text.txt").write_text("\n".join(lines))
    path = str(folder / f"records-{longest}")
    report = document_streams.create(
        [str(folder / "text.txt")], str(folder / "vocab.txt"), longest, [path], 1
    )
    return path, report


def read(path):
    rows = []
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        found = tf.train.Example.FromString(record).features.feature["input_ids"]
        rows.append(list(found.int64_list.value))
    return rows


def with_marks(document):
    return [2, *(len(SPECIAL) + word for word in document), 2]


def test_a_record_is_a_document_between_marks_and_long_ones_are_cut(tmp_path):
    path, report = write_documents(tmp_path)
    wanted = [with_marks(document) for document in DOCUMENTS]
    assert read(path) == wanted
    assert (report.documents, report.tokens, report.cut_documents) == (4, 27, 0)
    path, report = write_documents(tmp_path, longest=6)
    pieces = read(path)
    assert max(map(len, pieces)) == 6
    assert report.cut_documents == 3
    # Each word is predicted once, after the same one.
    pairs = [p for row in pieces for p in zip(row, row[1:], strict=False)]
    assert pairs == [p for row in wanted for p in zip(row, row[1:], strict=False)]


@pytest.fixture
def task(tmp_path):
    config = tmp_path / "ulmfit_config.json"
    config.write_text(tiny_ulmfit.CONFIG.to_json_string())
    path, _ = write_documents(tmp_path)
    architecture = dataclasses.replace(checkpoints.read_config(str(config)), bptt=7)
    system = make_system(architecture, str(tmp_path / "vocab.txt")).match_vocabulary()

    def make(**kwargs):
        made = UlmfitTask(system, 40, **kwargs)
        return made, made.train_records([path])

    return make


def batches(task, records, number, **kwargs):
    stream = task.train_batches(records, batch_size=3, seed=5, **kwargs)
    return list(stream.take(number).as_numpy_iterator())


@pytest.mark.parametrize("backward", [False, True])
def test_rows_read_documents_on_from_batch_to_batch(task, backward):
    found = batches(*task(backward=backward), 12)
    known = [with_marks(document) for document in DOCUMENTS]
    pairs = {p for row in known for p in zip(row, row[1:], strict=False)}
    if backward:
        pairs = {(b, a) for a, b in pairs}
    lengths = {batch["inputs"].shape[1] for batch in found}
    assert len(lengths) > 1
    for row in range(3):
        inputs, targets = (
            np.concatenate([batch[name][row] for batch in found])
            for name in ("inputs", "targets")
        )
        assert set(zip(inputs.tolist(), targets.tolist(), strict=True)) <= pairs
        assert (inputs[1:] == targets[:-1]).all()  # the mark that ends one begins one
    starts = [batch["inputs"][batch["starts_sentence"] > 0, 0] for batch in found]
    assert set(np.concatenate(starts)) == {2}


def test_a_stream_goes_on_where_it_was_left_and_replicas_share_its_rows(task):
    whole = batches(*task(), 6)
    later = batches(*task(), 2, start_step=4)
    parts = batches(*task(), 6, num_replicas=3, replica_offset=1, local_replicas=1)
    for name in ("inputs", "targets", "starts_sentence", "example_index"):
        for one, other in zip(whole[4:], later, strict=True):
            np.testing.assert_array_equal(one[name], other[name])
        for one, part in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one[name][1:2], part[name])


def test_a_stream_that_is_iterated_again_has_the_same_windows(task):
    made, records = task()
    stream = made.train_batches(records, batch_size=3, seed=5).take(6)
    first, again = (list(stream.as_numpy_iterator()) for _ in range(2))
    assert len({batch["inputs"].shape for batch in first}) > 1
    for one, other in zip(first, again, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_records_of_which_no_word_is_predicted_are_refused(task, tmp_path):
    made, _ = task()
    path = str(tmp_path / "one")
    tfrecord.write(path, token_streams.encode_rows([[2, 9, 2], [2]]))
    for take in (made.train_records, made.eval_records):
        with pytest.raises(UserError, match="one: record 1 has length 1; wanted 2 or"):
            take([path])


def test_most_windows_are_about_as_long_as_asked_for():
    lengths = np.array([document_windows.window_length(70, 1, i) for i in range(4000)])
    half = lengths < 52
    assert 0.03 < half.mean() < 0.07
    assert abs(lengths[~half].mean() - 70) < 0.5
    assert 4.5 < lengths[~half].std() < 5.5
    assert abs(lengths[half].mean() - 35) < 1.5


def test_static_shapes_are_windows_of_one_length(task):
    shapes = {b["inputs"].shape for b in batches(*task(static_shapes=True), 8)}
    assert shapes == {(3, 7)}


@pytest.mark.parametrize("backward", [False, True])
def test_evaluation_adds_up_the_losses_of_every_word_but_the_first(task, backward):
    made, records = task(backward=backward)
    model = made.build_model(dtype="float32", fused=False, seed=3)
    batch = next(iter(made.eval_batches(records, batch_size=4)))
    found = made.predict(model, batch)
    order = batch["example_index"].numpy().tolist()
    for row, index in enumerate(order):
        ids = np.array([with_marks(DOCUMENTS[index])], np.int32)
        ids = ids[:, ::-1] if backward else ids
        scores = tf.nn.log_softmax(model.lm_logits(model(ids)["sequence_output"][0]))
        losses = -scores.numpy()[np.arange(ids.size - 1), ids[0, 1:]]
        np.testing.assert_allclose(found["lm_loss"][row], losses.sum(), rtol=1e-5)
        assert found["lm_tokens"][row] == ids.size - 1
        right = (scores.numpy()[:-1].argmax(1) == ids[0, 1:]).sum()
        assert found["lm_right"][row] == right


def write_text(path, number, seed):
    """Writes documents in which every word tells the next one."""
    rng = np.random.default_rng(seed)
    lines = []
    for start in rng.integers(0, 30, number):
        lines += [" ".join(f"word{(start + k) % 30}" for k in range(9)), ""]
    lines += ["good bad Good BAD !", ""] * 3
    path.write_text("\n".join(lines) + "\n")


def results(folder):
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return {name: float(value) for name, value in (x.split(" = ") for x in lines)}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder that the scripts' commands made: text, vocabulary, records, model."""
    folder = tmp_path_factory.mktemp("ulmfit")
    for name, number, seed in (("train", 150, 0), ("dev", 20, 1)):
        write_text(folder / f"{name}.txt", number, seed)
    scripts.run(
        "create_vocab",
        "--model_type=ulmfit",
        f"--input_file={folder}/train.txt",
        f"--output_file={folder}/vocab.txt",
    )
    for name in ("train", "dev"):
        scripts.run(
            "create_pretraining_data",
            "--model_type=ulmfit",
            f"--vocab_file={folder}/vocab.txt",
            f"--input_file={folder}/{name}.txt",
            f"--output_file={folder}/{name}.tfrecord",
            "--max_seq_length=24",
            "--num_workers=1",
        )
    (folder / "config.json").write_text(tiny_ulmfit.CONFIG.to_json_string())
    pretrain(folder, "model", f"--config_file={folder}/config.json")
    return folder


def pretrain(folder, output, *words):
    scripts.run(
        "run_pretraining",
        "--model_type=ulmfit",
        f"--vocab_file={folder}/vocab.txt",
        f"--input_file={folder}/train.tfrecord",
        f"--eval_input_file={folder}/dev.tfrecord",
        f"--output_dir={folder}/{output}",
        "--do_train",
        "--do_eval",
        "--ngram_baseline=2",
        "--optimizer=ulmfit_adam",
        "--learning_rate_decay=slanted",
        "--num_train_steps=100",
        "--num_warmup_steps=10",
        "--learning_rate=7e-2",
        "--weight_decay=0",
        "--eval_steps=0",
        *SIZES,
        *words,
    )


def test_it_learns_what_comes_next(pretrained):
    scores = results(pretrained / "model")
    assert scores["perplexity"] < 6
    assert scores["ngram_perplexity"] < 3


def variables(folder):
    reader = tf.train.load_checkpoint(str(folder))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


def test_a_training_that_goes_on_ends_where_one_without_a_break_does(pretrained):
    short = ("--num_train_steps=6", "--save_checkpoints_steps=3", "--backward")
    short += ("--keep_optimizer=all",)
    config = f"--config_file={pretrained}/config.json"
    pretrain(pretrained, "whole", config, *short)
    # As a run that ended behind its first checkpoint.
    (pretrained / "part").mkdir()
    for path in (pretrained / "whole").iterdir():
        if path.is_file() and "-6" not in path.name and "results" not in path.name:
            text = path.read_bytes()
            if path.name == "checkpoint":
                text = b'model_checkpoint_path: "model.ckpt-3"\n'
                text += b'all_model_checkpoint_paths: "model.ckpt-3"\n'
            (pretrained / "part" / path.name).write_bytes(text)
    pretrain(pretrained, "part", config, *short)
    whole, part = (variables(pretrained / name) for name in ("whole", "part"))
    assert whole.keys() == part.keys()
    assert {"trainer/states/0/c", "trainer/states/1/h"} < whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, part[name], err_msg=name)
    saved = json.loads((pretrained / "whole" / "ulmfit_config.json").read_text())
    assert saved["backward"] is True


def test_the_second_stage_maps_words_and_gives_new_ones_the_mean(pretrained, tmp_path):
    words = tokenization_ulmfit.read_words(str(pretrained / "vocab.txt"))
    ours = [*SPECIAL, "novel", *reversed(words[len(SPECIAL) :])]
    (tmp_path / "vocab.txt").write_text(tokenization_ulmfit.file_text(ours))
    text = (pretrained / "train.txt").read_text().replace("word7", "novel")
    (tmp_path / "text.txt").write_text(text)
    scripts.run(
        "create_pretraining_data",
        "--model_type=ulmfit",
        f"--vocab_file={tmp_path}/vocab.txt",
        f"--input_file={tmp_path}/text.txt",
        f"--output_file={tmp_path}/train.tfrecord",
        "--num_workers=1",
    )
    flags = [
        f"--init_checkpoint={pretrained}/model",
        f"--eval_input_file={tmp_path}/train.tfrecord",
        f"--input_file={tmp_path}/train.tfrecord",
        f"--vocab_file={tmp_path}/vocab.txt",
        f"--output_dir={tmp_path}/out",
        "--layer_decay=0.385",
        "--num_train_steps=1",
        "--learning_rate=0",
    ]
    with pytest.raises(UserError, match="has 43 words, but the model has 42: .*resize"):
        pretrain(pretrained, "unused", *flags)
    pretrain(pretrained, "unused", *flags, "--resize_vocab")
    before, after = variables(pretrained / "model"), variables(tmp_path / "out")
    for name in ("ulmfit/embedding", "ulmfit/decoder_bias"):
        old, new = before[name], after[name]
        places = [words.index(word) for word in ours if word != "novel"]
        np.testing.assert_array_equal(np.delete(new, len(SPECIAL), 0), old[places])
        np.testing.assert_allclose(new[len(SPECIAL)], old.mean(0), atol=1e-6)


def classify(folder, output, *words):
    scripts.run(
        "run_classifier",
        "--model_type=ulmfit",
        *tiny.COLUMNS,
        f"--data_dir={folder}/data",
        f"--output_dir={folder}/{output}",
        *words,
    )


TRAINING = (
    *("--do_train", "--do_eval", "--do_predict", "--num_train_epochs=4"),
    *("--learning_rate=4e-2", "--optimizer=ulmfit_adam", "--weight_decay=0"),
    *("--learning_rate_decay=slanted", "--layer_decay=0.385", "--eval_steps=0"),
    *("--gradual_unfreezing", "--max_seq_length=3", "--train_batch_size=8"),
)


def write_classes(folder):
    """Writes texts of two to five words, the last or last but one good or bad."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    for name, number in (("train", 56), ("dev", 30), ("test", 9)):
        rows = ["text\tlabel"]
        for _ in range(number):
            words = [f"word{i}" for i in rng.integers(0, 30, rng.integers(1, 5))]
            label = str(rng.choice(["good", "bad"]))
            words.insert(len(words) - rng.integers(0, 2), label)
            rows.append(f"{' '.join(words)}\t{label}")
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def classifier(pretrained):
    write_classes(pretrained / "data")
    init = f"--init_checkpoint={pretrained}/model"
    classify(pretrained, "classifier", init, "--save_checkpoints_steps=7", *TRAINING)
    return pretrained / "classifier"


def test_a_classifier_learns_layer_by_layer(pretrained, classifier):
    start = variables(pretrained / "model")
    first, end = variables(classifier / "model.ckpt-7"), variables(classifier)
    layers = ["ulmfit/rnn_1/kernel", "ulmfit/rnn_0/kernel", "ulmfit/embedding"]
    for name in layers:  # trained from updates 7, 14 and 21 on
        np.testing.assert_array_equal(first[name], start[name])
        assert not np.array_equal(end[name], start[name])
    assert np.abs(first["classifier/norm_1/running_mean"]).max() > 0
    assert 0 < results(classifier)["eval_loss"] < 1


def test_batch_and_single_prediction_of_a_trained_folder_agree(pretrained, classifier):
    wanted = np.loadtxt(classifier / "test_results.tsv")
    for size in (1, 5):
        words = ("--do_predict", f"--predict_batch_size={size}")
        classify(pretrained, "classifier", *words)
        found = np.loadtxt(classifier / "test_results.tsv")
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_export_answers_as_the_folder(pretrained, classifier, tmp_path):
    wanted = np.loadtxt(classifier / "test_results.tsv")
    export.export_model(str(classifier), str(tmp_path / "export"))
    with (pretrained / "data" / "test.tsv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file, delimiter="\t")]
    found = export.load(str(tmp_path / "export")).predict(texts, batch_size=4)
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)


def test_the_model_writes_features_tags_and_text(pretrained, tmp_path):
    model = f"--init_checkpoint={pretrained}/model"
    (tmp_path / "lines.txt").write_text("word3 word4 Word5\n\nword1\n")
    scripts.run(
        "extract_features",
        model,
        f"--input_file={tmp_path}/lines.txt",
        f"--output_file={tmp_path}/features.jsonl",
    )
    rows = (tmp_path / "features.jsonl").read_text().splitlines()
    found = [[f["token"] for f in json.loads(row)["features"]] for row in rows]
    wanted = ["xxbos", "word3", "word4", "xxmaj", "word5"]
    assert found == [wanted, ["xxbos"], ["xxbos", "word1"]]
    (tmp_path / "prompts.txt").write_text("word3\nword9 word10\n")
    scripts.run(
        "generate",
        model,
        f"--input_file={tmp_path}/prompts.txt",
        f"--output_file={tmp_path}/texts.jsonl",
        "--temperature=0",
        "--max_new_tokens=4",
    )
    texts = (tmp_path / "texts.jsonl").read_text()
    assert "word12 word13" in texts
    sentences = ["word3 O\nWord4 B-X\nword5 I-X\n", "word1 O\n"]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.txt").write_text("\n".join(sentences * 4))
    scripts.run(
        "run_tagger",
        model,
        f"--train_file={tmp_path}/train.txt",
        f"--dev_file={tmp_path}/dev.txt",
        f"--output_dir={tmp_path}/tagger",
        "--do_train",
        "--do_eval",
        "--train_batch_size=4",
        "--num_train_epochs=1",
        "--max_seq_length=16",
        "--finetune_encoder=false",
        "--tag_scheme=BIO",
    )
    before, after = variables(pretrained / "model"), variables(tmp_path / "tagger")
    name = "ulmfit/rnn_0/kernel"
    np.testing.assert_array_equal(before[name], after[name])


def test_a_model_that_reads_from_the_end_does_nothing_but_classify(pretrained):
    config = dataclasses.replace(tiny_ulmfit.CONFIG, backward=True, vocab_size=42)
    system = make_system(config, str(pretrained / "vocab.txt"))
    for ability, ask in (
        ("tags", lambda can: can.special_ids(system.tokenizer())),
        ("extracts", lambda can: can.layout(system.tokenizer())),
        ("generates", lambda can: can.encode(["word1"])),
    ):
        with pytest.raises(UserError, match="reads texts from their end"):
            ask(system.need(ability))


def test_documents_are_read_whole_and_from_the_end_if_so_asked(pretrained):
    found = {}
    for backward in (False, True):
        config = dataclasses.replace(
            tiny_ulmfit.CONFIG, backward=backward, vocab_size=42
        )
        system = make_system(config, str(pretrained / "vocab.txt"))
        can = system.need("classifies")
        examples = [
            InputExample("0", "word1 " * 50, None, "a"),
            InputExample("1", "word1", "Word2", "b"),
            InputExample("2", "", None, "b"),
        ]
        task = ClassificationConfig(
            task_name="tiny",
            output_kind="single_label",
            labels=("a", "b"),
            metrics=("accuracy",),
            main_metric="accuracy",
            max_seq_length=8,
            do_lower_case=None,
        )
        found[backward] = can.columns(examples, task).documents
    words = tokenization_ulmfit.read_words(str(pretrained / "vocab.txt"))
    long, pair, empty = ([words[i] for i in ids] for ids in found[False])
    assert empty == ["xxbos"]
    assert long == ["xxbos", "xxwrep", "xxunk", "word1"]  # 50 is no word here
    assert pair == [
        "xxbos",
        "xxfld",
        "xxunk",
        "word1",
        "xxfld",
        "xxunk",
        "xxmaj",
        "word2",
    ]
    for ahead, back in zip(found[False], found[True], strict=True):
        np.testing.assert_array_equal(ahead[::-1], back)
    with pytest.raises(
        UserError, match="--jit_compile and --use_tpu need inputs of one"
    ):
        can.buckets(8, static_shapes=True)
    assert can.buckets(8, static_shapes=False)[:3] == (8, 16, 32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "language model"])
def test_two_replicas_train_as_one_device_does(pretrained, classifier, tmp_path, kind):
    config = dataclasses.replace(tiny_ulmfit.CONFIG, vocab_size=42, drop_mult=0)
    system = make_system(config, str(pretrained / "vocab.txt"))
    if kind == "classifier":
        trained = ClassificationConfig.from_json_file(str(classifier / "task.json"))
        task = ClassificationTask(trained, system)
        rows = [InputExample(str(i), f"word{i}", None, "bad") for i in range(32)]
        records = task.records("train", rows, str(tmp_path))
    else:
        task = UlmfitTask(system, 24)
        records = task.train_records([str(pretrained / "train.tfrecord")])
    found = []
    for kind in ("off", "mirrored"):
        training = TrainingConfig(
            output_dir=str(tmp_path / kind),
            num_train_steps=6,
            train_batch_size=8,
            # Adam would make much of the rounding of a gradient near 0.
            optimizer=OptimizerConfig("adagrad", 0.2, unfreeze_steps=2),
        )
        strategy = make_strategy(DistributionConfig(kind))
        Trainer(task, strategy, training).train(records, None, {})
        found.append(variables(tmp_path / kind))
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, atol=1e-5, err_msg=name)
    if task.asks_replicas:
        training = dataclasses.replace(
            training,
            output_dir=str(tmp_path / "pieces"),
            gradient_accumulation_steps=2,
        )
        trainer = Trainer(task, strategy, training)
        with pytest.raises(UserError, match="--gradient_accumulation_steps=2 over sev"):
            trainer.train(records, None, {})


@pytest.mark.parametrize("pieces", [1, 4])
def test_batches_of_one_example_have_no_moments(pretrained, classifier, pieces):
    del classifier  # its data are beside it
    start = f"--init_checkpoint={pretrained}/model", "--do_train"
    flags = f"--train_batch_size={pieces}", f"--gradient_accumulation_steps={pieces}"
    with pytest.raises(UserError, match="one example at a time: the model's batch"):
        classify(pretrained, "single", *start, *flags)


def test_an_ensemble_is_the_mean_of_what_its_members_say(pretrained, classifier):
    tiny_gpt.write_model(pretrained)
    other = pretrained / "gpt"
    words = ("--do_train", "--do_predict", "--num_train_epochs=1", "--learning_rate=0")
    scripts.run(
        "run_classifier",
        f"--config_file={pretrained}/gpt_config.json",
        f"--vocab_file={pretrained}/vocab.json",
        *tiny.COLUMNS,
        f"--data_dir={pretrained}/data",
        "--labels=good,bad",
        "--max_seq_length=32",
        f"--output_dir={other}",
        *words,
    )
    folders = f"--ensemble={classifier},{other}"
    both = pretrained / "both"
    classify(pretrained, "both", "--do_eval", "--do_predict", folders)
    one, two, mean = (
        np.loadtxt(folder / "test_results.tsv") for folder in (classifier, other, both)
    )
    # Its labels are in another order.
    np.testing.assert_allclose(mean, (one + two[:, ::-1]) / 2, atol=1e-6)
    assert 0 < results(both)["eval_loss"] < 2
    with pytest.raises(UserError, match="is one of --ensemble: give another one"):
        classify(pretrained, "classifier", "--do_eval", folders)
    words = ("--do_eval", f"--ensemble={classifier},{pretrained}/model")
    with pytest.raises(UserError, match="model holds no trained classifier"):
        classify(pretrained, "unused", *words)
