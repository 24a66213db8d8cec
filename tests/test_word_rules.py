"""What finds words: kept from vocabulary to model, and noticed where nothing did."""

import json
import logging

import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_elmo

import word_rules
from data_pipeline.corpora.word_splitter import WHITESPACE, WordSplitter
from data_pipeline.readers import conll
from errors import UserError
from modeling import TaglmConfig
from modeling.nnlm import NnlmConfig
from modeling.vectors import VectorsConfig
from systems import taglm, vectors
from systems.system import make_system
from vocabulary import TableEncoder, Vocabulary
from word_rules import WordRules, WordsSeen

RAW = "我们喜欢自然语言，“BERT模型”。\u3000It's a dog."
# jieba's own words; the marks of Chinese stand alone.
JIEBA = "我们 喜欢 自然语言 ， “ BERT 模型 ” 。 It's a dog."
# The characters of Chinese, and spaCy's words of English.
CHARACTERS = "我 们 喜 欢 自 然 语 言 ， “ BERT 模 型 ” 。 It 's a dog ."


@pytest.fixture
def warned(monkeypatch, caplog):
    """What a process that has not yet said anything warns of."""
    monkeypatch.setattr(word_rules, "_said", set())
    with caplog.at_level(logging.WARNING, "absl"):
        yield lambda: [r.getMessage() for r in caplog.records]


def test_words_are_found_as_the_rules_say():
    assert WHITESPACE.words(" a\u3000b\tc ") == ["a", "b", "c"]
    assert WordSplitter(segmenter="jieba").words(RAW) == JIEBA.split()
    assert WordSplitter("english", "characters").words(RAW) == CHARACTERS.split()


def test_each_rule_is_that_of_the_first_who_says_one(tmp_path):
    path = str(tmp_path / "vocab.txt")
    assert word_rules.read_beside(path) == WordRules()
    beside = tmp_path / "vocab.words.json"
    beside.write_text(WordRules("whitespace", "jieba").to_text())
    told = word_rules.first_said(WordRules("english"), word_rules.read_beside(path))
    assert told == WordRules("english", "jieba")
    for text, message in (
        ('{"segmenter": "x"}', "vocab.words.json: segmenter is 'x', wanted 'jieba', "),
        ('{"words": 1}', "vocab.words.json: unknown key"),
    ):
        beside.write_text(text)
        with pytest.raises(UserError, match=message):
            word_rules.read_beside(path)


def test_what_a_vocabularys_words_were_found_by_is_kept_to_the_model(tmp_path):
    (tmp_path / "text.txt").write_text(f"{RAW}\n\n" * 40)
    (tmp_path / "nnlm.json").write_text(
        NnlmConfig(order=2, embedding_size=4, hidden_size=3).to_json_string()
    )
    shared = ["--model_type=nnlm", f"--input_file={tmp_path}/text.txt"]
    vocab, records = tmp_path / "vocab.txt", tmp_path / "records"
    rules = ["--tokenizer=english", "--segmenter=jieba"]
    scripts.run("create_vocab", *shared, f"--output_file={vocab}", *rules)
    words = Vocabulary.from_file(str(vocab)).words[3:]
    assert set(words) == set(JIEBA.split()) - {"It's", "dog."} | {
        *("It", "'s", "dog", ".")
    }
    files = (f"--vocab_file={vocab}", f"--output_file={records}")
    scripts.run("create_pretraining_data", *shared, *files, "--num_workers=1")
    scripts.run(
        "run_pretraining",
        f"--config_file={tmp_path}/nnlm.json",
        f"--vocab_file={vocab}",
        f"--input_file={records}",
        f"--output_dir={tmp_path}/out",
        "--do_train",
        "--do_eval",
        "--num_train_steps=1",
        "--num_warmup_steps=0",
        "--train_batch_size=4",
        "--max_seq_length=24",
    )
    saved = json.loads((tmp_path / "out" / "nnlm_config.json").read_text())
    assert (saved["tokenizer"], saved["segmenter"]) == ("english", "jieba")
    # No word of the records is unknown: they were found as those of the vocabulary.
    for record in tf.data.TFRecordDataset(str(records)).as_numpy_iterator():
        found = tf.train.Example.FromString(record).features.feature["input_ids"]
        assert Vocabulary.from_file(str(vocab)).unk not in found.int64_list.value
    with pytest.raises(UserError, match="--segmenter=characters, but the model in"):
        scripts.run(
            "run_pretraining",
            f"--init_checkpoint={tmp_path}/out",
            f"--input_file={records}",
            f"--output_dir={tmp_path}/other",
            "--do_train",
            "--segmenter=characters",
        )


def test_systems_split_as_their_configs_say(tmp_path):
    tiny_elmo.write_model(tmp_path)
    options = json.loads((tmp_path / "options.json").read_text())
    config = type(tiny_elmo.CONFIG).from_dict({**options, "segmenter": "jieba"})
    assert config.to_dict()["segmenter"] == "jieba"
    assert "tokenizer" not in config.to_dict()  # bilm-tf's keys, as long as none is set
    system = make_system(config, str(tmp_path / "vocab.txt"))
    assert system.split(RAW) == JIEBA.split()
    assert (
        system.fingerprint()
        != make_system(tiny_elmo.CONFIG, system.vocab_file).fingerprint()
    )
    (tmp_path / "vectors.txt").write_text("2 2\n模型 1 0\ndog 0 1\n")
    beside = WordRules("english", "jieba").to_text()
    (tmp_path / "vectors.words.json").write_text(beside)
    for path in (tmp_path, tmp_path / "vectors.txt"):
        system = vectors.begin(None, RAW.split(), word_vectors=str(path))
        assert system.config.text_words == 5  # three marks, and both words
        assert system.text_encoder(9) is None  # no graph segments
    other = vectors.begin(
        VectorsConfig(segmenter="characters"), RAW.split(), word_vectors=str(path)
    )
    assert other.config.text_words == 4
    found = taglm.begin(TaglmConfig(vocab_size=1), ["a"], segmenter="jieba")
    assert found.config.segmenter == "jieba"
    assert found.sentence_splitter.words("自然语言 dog.") == ["自然语言", "dog", "."]


def test_raw_sentences_become_words_of_a_line_each(tmp_path):
    path = tmp_path / "raw.txt"
    path.write_text("A dog.\n\n北京\n")
    split = WordSplitter("english", "characters").words
    text = conll.read_raw(str(path), split)
    assert text.words.tolist() == ["A", "dog", ".", "北", "京"]
    assert text.offsets.tolist() == [0, 3, 5]
    assert text.numbers.tolist() == [1, 1, 1, 3, 3]
    text.write(str(tmp_path / "out"), ["O", "B-X", "O", "B-Y", "I-Y"])
    written = (tmp_path / "out").read_text()
    assert written == "A O\ndog B-X\n. O\n\n北 B-Y\n京 I-Y\n"
    path.write_text(" \n")
    with pytest.raises(UserError, match="raw.txt: the file is empty"):
        conll.read_raw(str(path), split)


def test_chinese_without_words_is_told_once(warned):
    sentences = ["今天的天气非常好，我们去公园。", "他没有告诉我这件事"] * 60
    seen = WordsSeen()
    for sentence in sentences:
        seen.add(sentence.split())
    seen.warn()
    seen.warn()
    [message] = warned()
    assert "--segmenter=jieba" in message


@pytest.mark.parametrize("segmenter", ["jieba", "characters"])
def test_chinese_in_words_is_not_warned_of(warned, segmenter):
    split = WordSplitter(segmenter=segmenter).words
    seen = WordsSeen()
    for _ in range(60):
        seen.add(split("今天的天气非常好，我们去公园。"))
    seen.add(["(北京大学)", *["English"] * 300])
    seen.warn()
    assert not warned()


def test_words_that_only_try_a_model_are_not_noticed(warned):
    seen = WordsSeen()
    with word_rules.unnoticed():
        seen.add(["strange"] * 200, unknown=200)
        seen.warn()
    assert not warned()
    seen.add(["strange"] * 200, unknown=200)
    seen.warn()
    [message] = warned()
    assert "of 200 words are not in the vocabulary" in message


def test_a_text_of_unknown_words_is_told(warned):
    speller = TableEncoder(Vocabulary(["<S>", "</S>", "<UNK>", "a", "dog"]))
    speller.batch([["a", "dog", "a", "dog", "a."]] * 50)
    speller.report()
    assert not warned()
    speller.encode(["a", "dog."] * 30)
    speller.report()
    [message] = warned()
    assert "--tokenizer=english" in message
    assert message.startswith("26 % of 310 words")


def test_a_vocabulary_of_clauses_is_warned_of(warned, tmp_path):
    (tmp_path / "text.txt").write_text("今天的天气非常好，我们去公园。\n" * 120)
    scripts.run(
        "create_vocab",
        "--model_type=elmo",
        f"--input_file={tmp_path}/text.txt",
        f"--output_file={tmp_path}/vocab.txt",
    )
    assert len([m for m in warned() if "--segmenter=jieba" in m]) == 1


GOOD, BAD = "我们喜欢自然语言", "今天的天气非常好"
CLASSES = (
    *tiny.COLUMNS,
    *("--do_train", "--do_eval", "--num_train_epochs=6", "--train_batch_size=8"),
    *("--learning_rate=5e-2", "--max_seq_length=12", "--eval_steps=0"),
)


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """A folder with raw Chinese in two classes, as text and as data of a task."""
    folder = tmp_path_factory.mktemp("chinese")
    rows = [f"{GOOD}，\tgood\n{BAD}。\tbad\n" for _ in range(16)]
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "".join(rows))
    (folder / "text.txt").write_text(f"{GOOD}，{BAD}。\n" * 40)
    return folder


def accuracy(folder):
    return tiny.read_results(folder / "eval_results.txt")["eval_accuracy"]


@pytest.mark.slow
def test_vectors_of_chinese_words_classify_raw_text_without_a_flag(chinese, tmp_path):
    scripts.run(
        "run_word_vectors",
        "--segmenter=jieba",
        f"--train_file={chinese}/text.txt",
        f"--output_dir={tmp_path}/vectors",
        *("--model_type=svd", "--vector_size=4", "--min_count=1"),
    )
    folders = f"--data_dir={chinese}", f"--output_dir={tmp_path}/out"
    vectors_file = f"--init_checkpoint={tmp_path}/vectors/vectors.txt"
    scripts.run("run_classifier", vectors_file, *folders, *CLASSES)
    config = json.loads((tmp_path / "out" / "vectors_config.json").read_text())
    assert config["segmenter"] == "jieba"
    words = set((tmp_path / "out" / "vocab.txt").read_text().split())
    assert {"喜欢", "自然语言", "天气"} <= words
    assert accuracy(tmp_path / "out") == 1
    other = *folders, *CLASSES[:3], "--do_eval", "--segmenter=characters"
    with pytest.raises(UserError, match="--segmenter=characters, but the model in"):
        scripts.run("run_classifier", *other)


@pytest.mark.slow
def test_an_elmo_of_which_nobody_has_said_anything_takes_the_flag(chinese, tmp_path):
    vocab, options = tiny_elmo.write_model(tmp_path)
    scripts.run(
        "run_classifier",
        f"--config_file={options}",
        f"--vocab_file={vocab}",
        f"--data_dir={chinese}",
        f"--output_dir={tmp_path}/out",
        "--segmenter=characters",
        *CLASSES,
        "--num_train_epochs=1",
    )
    config = json.loads((tmp_path / "out" / "options.json").read_text())
    assert config["segmenter"] == "characters"


def test_a_tagger_finds_the_words_of_raw_chinese_as_it_was_told(tmp_path):
    rows = ["我们 喜欢 自然语言\tO O B-X", "天气 好 .\tO O O"] * 12
    (tmp_path / "train.tsv").write_text("\n".join(["text_a\tlabel", *rows]) + "\n")
    (tmp_path / "raw.txt").write_text(f"{GOOD}.\n")
    out = f"--output_dir={tmp_path}/out"
    scripts.run(
        "run_tagger",
        *("--model_type=taglm", "--segmenter=jieba", "--data_format=tsv"),
        f"--train_file={tmp_path}/train.tsv",
        *("--tag_scheme=BIO", "--do_train", "--num_train_epochs=1"),
        *("--train_batch_size=8", "--learning_rate=1e-2", "--max_seq_length=12", out),
    )
    raw = ("--do_predict", "--raw_text", f"--test_file={tmp_path}/raw.txt")
    scripts.run("run_tagger", out, *raw)
    written = (tmp_path / "out" / "test_predictions.txt").read_text()
    words = [line.split()[0] for line in written.splitlines()]
    assert words == ["我们", "喜欢", "自然语言", "."]
