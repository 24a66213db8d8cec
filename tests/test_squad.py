"""Questions, windows and answers, against the original's output and by hand."""

import functools
import hashlib
import json
import multiprocessing

import numpy as np
import pytest

from data_pipeline import tfrecord
from data_pipeline.readers import squad
from data_pipeline.squad import answers as squad_answers
from data_pipeline.squad import features as squad_features
from data_pipeline.squad.features import WindowConfig
from data_pipeline.squad.pieces import WordPieces

WORDS = ["the", "red", "fox", "saw", "a", "steve", "smith", "18", "##95", "19", "##43"]
MARKS = ["(", ")", "-", ".", "'", "s", "中", "国", "人", "japan", "japanese"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *MARKS]


def write_vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCAB) + "\n")
    return str(path)


@pytest.fixture
def tokenizer(tmp_path):
    return WordPieces(write_vocab(tmp_path))


def question(context, answer, offset=None, key="q1", **more):
    """Returns the `data` of a file with one question."""
    offset = context.find(answer) if offset is None else offset
    qa = {
        "id": key,
        "question": "the fox",
        "answers": [{"text": answer, "answer_start": offset}],
    }
    return [{"paragraphs": [{"context": context, "qas": [qa | more]}]}]


def write(tmp_path, data):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": data}))
    return str(path)


def read(tmp_path, data, is_training=True, **kwargs):
    return squad.read_squad_examples(write(tmp_path, data), is_training, **kwargs)


def convert(tokenizer, examples, *windows):
    config = WindowConfig(*windows)
    return list(squad_features.Converter(tokenizer, config).convert(examples))


# The original's output.


def golden_case(golden_dir, version):
    folder = golden_dir / "squad"
    settings = json.loads((folder / f"features_v{version}.json").read_text())
    vocab = golden_dir.parent / "data/vocab" / settings["vocab"]
    config = WindowConfig(
        *(settings[k] for k in ("max_seq_length", "doc_stride", "max_query_length"))
    )
    tokenizer = WordPieces(str(vocab), settings["do_lower_case"])
    return folder, settings, tokenizer, config


def read_golden(folder, version, is_training):
    return squad.read_squad_examples(
        str(folder / f"squad_v{version}_sample.json"),
        is_training,
        version_2_with_negative=version == 2,
    ).examples


@pytest.mark.shared_data
@pytest.mark.parametrize("version", [1, 2])
def test_features_are_the_originals(golden_dir, version):
    folder, settings, tokenizer, config = golden_case(golden_dir, version)
    examples = read_golden(folder, version, is_training=True)
    assert len(examples) == settings["num_examples"]
    found = []
    for i, f in enumerate(
        squad_features.Converter(tokenizer, config).convert(examples)
    ):
        padding = [0] * (config.max_seq_length - len(f.input_ids))
        values = {
            "unique_id": 1000000000 + i,
            "example_index": f.example_index,
            "doc_span_index": f.doc_span_index,
            "input_ids": [*f.input_ids, *padding],
            "input_mask": [1] * len(f.input_ids) + padding,
            "segment_ids": [*f.segment_ids, *padding],
            "start_position": f.start_position,
            "end_position": f.end_position,
            "is_impossible": examples[f.example_index].is_impossible,
        }
        found.append(values)
    assert found[:4] == settings["first_train_features"]
    assert len(found) == settings["num_train_features"]
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    assert digest == settings["sha256_of_train_features_json"]


@pytest.mark.shared_data
@pytest.mark.parametrize("version", [1, 2])
def test_answers_to_given_scores_are_the_originals(golden_dir, tmp_path, version):
    folder, settings, tokenizer, config = golden_case(golden_dir, version)
    examples = read_golden(folder, version, is_training=False)
    features = list(squad_features.Converter(tokenizer, config).convert(examples))
    logits = np.load(folder / f"logits_v{version}.npz")
    answers = squad_answers.choose_answers(
        examples,
        features,
        logits["start_logits"],
        logits["end_logits"],
        tokenizer,
        squad_answers.AnswerConfig(version_2_with_negative=version == 2),
    )
    squad_answers.write_answers(str(tmp_path), answers)

    def both(name):
        ours = json.loads((tmp_path / name).read_text())
        theirs = folder / name.replace(".json", f"_v{version}.json")
        theirs = str(theirs).replace("nbest_predictions", "nbest")
        with open(theirs, encoding="utf-8") as file:
            return ours, json.load(file)

    ours, theirs = both("predictions.json")
    assert list(ours.items()) == list(theirs.items())
    ours, theirs = both("nbest_predictions.json")
    assert list(ours) == list(theirs)
    for key, entries in theirs.items():
        assert [e["text"] for e in ours[key]] == [e["text"] for e in entries]
        for mine, wanted in zip(ours[key], entries, strict=True):
            for name in ("probability", "start_logit", "end_logit"):
                assert mine[name] == pytest.approx(wanted[name], abs=1e-5)
    assert (tmp_path / "null_odds.json").exists() == (version == 2)
    if version == 2:
        ours, theirs = both("null_odds.json")
        assert ours == pytest.approx(theirs, abs=1e-4)


# Reading.


def test_words_are_what_stands_between_white_space(tmp_path):
    (example,) = read(tmp_path, question("  a\t red\u202ffox.\n", "red")).examples
    assert example.context.words() == ["a", "red", "fox."]
    assert example.context.span(0, 2) == "a red fox."
    assert (example.start_position, example.end_position) == (1, 1)
    assert example.answers == ("red",)


def test_every_chinese_character_is_a_word_if_asked_for(tmp_path):
    data = question("《中国》 (fox)人", "国")
    (example,) = read(tmp_path, data, language="zh").examples
    assert example.context.words() == ["《", "中", "国", "》", "(fox)", "人"]
    assert example.context.span(1, 4) == "中国》 (fox)"
    assert (example.start_position, example.end_position) == (2, 2)
    (example,) = read(tmp_path, data).examples
    assert example.context.words() == ["《中国》", "(fox)人"]


@pytest.mark.parametrize(
    ("answer", "offset"),
    [("fox", 3), ("fox", 99), ("fox", -5), ("wolf", 8), (" ", 3)],
    ids=["elsewhere", "beyond", "before", "other text", "no text"],
)
def test_an_answer_not_in_its_context_is_counted_and_named(
    tmp_path, caplog, answer, offset
):
    data = question("the red fox", "red", key="good")
    data += question("the red fox", answer, offset, key="lost-7")
    found = read(tmp_path, data)
    assert [e.qas_id for e in found.examples] == ["good"]
    assert found.unfound == ("lost-7",)
    assert "left out 1 of 2 questions" in caplog.text
    assert "lost-7" in caplog.text
    # To predict, the annotated answer does not matter.
    assert len(read(tmp_path, data, is_training=False).examples) == 2


# Characters that str.split parts at, and words of contexts are not cut at.
OTHER_SPACES = "\u00a0\u2009\u2003\u3000\x0b\x0c\x85\u2028"


@pytest.mark.parametrize("space", OTHER_SPACES, ids=lambda char: f"{ord(char):04x}")
@pytest.mark.parametrize("language", ["de", "zh"])
def test_answers_may_hold_any_white_space(tmp_path, tokenizer, caplog, space, language):
    data = question(f"the (red{space}fox) saw", f"red{space}fox")
    found = read(tmp_path, data, language=language)
    assert (found.unfound, found.moved, caplog.text) == ((), (), "")
    (example,) = found.examples
    assert example.context.span(example.start_position, example.end_position) == (
        f"(red{space}fox)"
    )
    (feature,) = convert(tokenizer, found.examples, 30, 5, 4)
    span = feature.input_ids[feature.start_position : feature.end_position + 1]
    assert span == tokenizer.piece_ids(f"red{space}fox")
    # And where the annotation has a plain space instead.
    data = question(f"the red{space}fox saw", "red fox", 4)
    assert read(tmp_path, data, language=language).unfound == ()


@pytest.mark.parametrize(
    ("offset", "start"),
    [(1, 2), (3, 2), (8, 9), (-5, 2), (99, 9)],
    ids=["before", "behind", "nearer", "negative", "beyond"],
)
def test_a_chinese_answer_is_taken_from_the_place_nearest_to_its_own(
    tmp_path, caplog, offset, start
):
    context = "人，中国 人saw人中国\u3000人"
    data = question(context, "中国 人", offset, key="moved-3")
    data += question(context, "中国 人", 2, key="right")
    data += question(context, "国中", 3, key="lost-7")
    found = read(tmp_path, data, language="zh")
    assert (found.moved, found.unfound) == (("moved-3",), ("lost-7",))
    moved, right = found.examples
    # The words are 人 ， 中 国 人 saw 人 中 国 \u3000 人.
    words = {2: (2, 4), 9: (7, 10)}[start]
    assert (moved.start_position, moved.end_position) == words
    assert (right.start_position, right.end_position) == (2, 4)
    assert "left out 1 of 3 questions" in caplog.text
    assert "took the answers of 1 of 3 questions from the place nearest" in caplog.text
    assert caplog.text.rstrip().endswith("moved-3")


def test_ids_may_be_numbers(tmp_path):
    data = question("the red fox", "red", key=262)
    data += question("the red fox", "fox", key="263")
    found = read(tmp_path, data).examples
    assert [example.qas_id for example in found] == ["262", "263"]
    with pytest.raises(ValueError, match=r"data\[1\].*'262'.*given to a question"):
        read(tmp_path, question("a fox", "fox", key=262) * 2)


def test_questions_without_an_answer_need_version_2(tmp_path):
    data = question("the red fox", "red", answers=[], is_impossible=True)
    (example,) = read(tmp_path, data, version_2_with_negative=True).examples
    assert example.is_impossible
    assert (example.start_position, example.end_position) == (-1, -1)
    message = r"squad.json, data\[0\].paragraphs\[0\].qas\[0\] \(question 'q1'\): "
    with pytest.raises(ValueError, match=message + ".*--version_2_with_negative"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [{"text": "red"}]}, r"'q1'.*no key 'answer_start'"),
        ({"answers": "red"}, r"'q1'.*'answers' is 'red', wanted a list"),
        ({"answers": [{"text": "a", "answer_start": 0}] * 2}, r"'q1'.*has 2 answers"),
        ({"question": None}, r"'q1'.*'question' is 'None', wanted a str"),
        ({"id": 7.5}, r"data\[0\].paragraphs\[0\].qas\[0\]: 'id' is '7.5'"),
        ({"id": True}, r"data\[0\].paragraphs\[0\].qas\[0\]: 'id' is 'True'"),
    ],
)
def test_a_question_that_is_not_as_wanted_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"squad.json.*{message}"):
        read(tmp_path, question("the red fox", "red", **change))


def test_a_version_2_question_that_does_not_say_whether_it_has_an_answer(tmp_path):
    with pytest.raises(ValueError, match="'q1'.*no key 'is_impossible'"):
        read(tmp_path, question("a fox", "fox"), version_2_with_negative=True)
    # To be predicted, it is one of version 1.1, all of which have.
    (example,) = read(
        tmp_path, question("a fox", "fox"), False, version_2_with_negative=True
    ).examples
    assert (example.is_impossible, example.answers) == (False, ("fox",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [}', r"squad.json: not JSON: .*line 1 column 11"),
        ('{"version": "1.1"}', r"squad.json: no key 'data'; found \['version'\]"),
        ('{"data": []}', r"squad.json: no questions"),
        ('{"data": [{"paragraphs": [7]}]}', r"paragraphs\[0\]: wanted a JSON object"),
        ("", r"squad.json: the file is empty"),
    ],
)
def test_a_file_that_is_not_squad_is_named(tmp_path, text, message):
    path = tmp_path / "squad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        squad.read_squad_examples(str(path), is_training=True)


def test_an_id_given_twice_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"data\[1\].*'q1'.*given to a question"):
        read(tmp_path, question("a fox", "fox") * 2)


# Windows.


@pytest.mark.parametrize(
    ("answer", "pieces"),
    [("1895", ["18", "##95"]), ("1943", ["19", "##43"]), ("Japan", ["japanese"])],
)
def test_the_answer_is_the_pieces_annotated_or_else_their_words(
    tmp_path, tokenizer, answer, pieces
):
    data = question("Steve Smith (1895-1943). Japanese fox", answer)
    (feature,) = convert(tokenizer, read(tmp_path, data).examples, 30, 5, 4)
    span = feature.input_ids[feature.start_position : feature.end_position + 1]
    assert tokenizer.convert_ids_to_tokens(span) == pieces


def test_windows_overlap_and_hold_the_answer_or_point_at_cls(tmp_path, tokenizer):
    data = question("the red fox saw a red fox", "saw")
    examples = read(tmp_path, data).examples
    features = convert(tokenizer, examples, 9, 3, 2)
    tokens = [tokenizer.convert_ids_to_tokens(f.input_ids) for f in features]
    head = ["[CLS]", "the", "fox", "[SEP]"]
    assert tokens == [
        [*head, "the", "red", "fox", "saw", "[SEP]"],
        [*head, "saw", "a", "red", "fox", "[SEP]"],
    ]
    assert [(f.start_position, f.end_position) for f in features] == [(7, 7), (4, 4)]
    assert [f.token_to_orig for f in features] == [
        [-1, -1, -1, -1, 0, 1, 2, 3, -1],
        [-1, -1, -1, -1, 3, 4, 5, 6, -1],
    ]
    assert [f.doc_span_index for f in features] == [0, 1]
    late = read(tmp_path, question("the red fox saw a steve", "steve")).examples
    features = convert(tokenizer, late, 9, 3, 2)
    assert [(f.start_position, f.end_position) for f in features] == [(0, 0), (6, 6)]


def test_a_piece_counts_where_its_poorer_side_is_richest():
    windows = squad_features.doc_windows(num_pieces=11, room=5, stride=3)
    assert windows == [(0, 5), (3, 5), (6, 5)]
    found = squad_features.max_context(windows, 11)
    # Piece 3: 1 neighbour to the right in window 0, none to the left in window 1.
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_questions_are_cut_and_empty_contexts_have_no_window(tmp_path, tokenizer):
    examples = read(tmp_path, question("red fox", "fox", question="a " * 9)).examples
    (feature,) = convert(tokenizer, examples, 12, 2, 3)
    assert feature.input_ids[:5] == [2, 8, 8, 8, 3]
    examples = read(tmp_path, question("\u200b", "x"), is_training=False).examples
    assert convert(tokenizer, examples, 12, 2, 3) == []


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ((20, 13, 4), "--doc_stride=13; wanted 1 to 12.*--max_query_length=4"),
        ((20, 0, 4), "--doc_stride=0"),
        ((20, 3, 17), "--max_seq_length=20 must be .* --max_query_length=17"),
        ((20, 3, 0), "--max_query_length=0"),
    ],
)
def test_lengths_that_leave_no_window_name_their_flags(windows, message):
    with pytest.raises(ValueError, match=message):
        WindowConfig(*windows)


def many(tmp_path, number):
    """Questions of one context each; returns the examples."""
    data = []
    for i in range(number):
        data += question("the red fox saw a fox " + "red " * (i % 5), "saw", key=str(i))
    return read(tmp_path, data).examples


def test_features_come_back_from_the_cache_as_they_were(tmp_path, tokenizer):
    examples, config = many(tmp_path, 7), WindowConfig(10, 3, 2)
    vocab = str(tmp_path / "vocab.txt")
    prefix = str(tmp_path / "cache/eval")
    cached = squad_features.cached_features(
        prefix, examples, lambda: WordPieces(vocab), {"vocabulary": 1}, config
    )
    found = squad_features.read_features(cached.path)
    wanted = list(squad_features.Converter(tokenizer, config).convert(examples))
    assert cached.num_records == len(found) == len(wanted) > 7
    for ours, theirs in zip(found, wanted, strict=True):
        for name in ("input_ids", "segment_ids", "token_to_orig", "is_max_context"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        for name in ("example_index", "start_position", "end_position"):
            assert getattr(ours, name) == getattr(theirs, name)


def test_the_cache_is_used_again_and_only_for_the_same_features(tmp_path, tokenizer):
    examples = many(tmp_path, 3)
    vocab = str(tmp_path / "vocab.txt")

    def path(examples=examples, lower=True, windows=(10, 3, 2)):
        prefix = str(tmp_path / "cache/eval")
        config = WindowConfig(*windows)
        key = {"vocabulary": tfrecord.fingerprint(vocab), "lower": lower}
        return squad_features.cached_features(
            prefix, examples, lambda: WordPieces(vocab), key, config
        ).path

    first = path()
    assert path(many(tmp_path, 3)) == first
    others = {
        path(examples[:2]),
        path(lower=False),
        path(windows=(11, 3, 2)),
        path(windows=(10, 2, 2)),
        path(windows=(10, 3, 1)),
        path(read(tmp_path, question("the red fox", "red", key="0")).examples),
    }
    assert len(others | {first}) == 7
    with open(vocab, "a") as file:
        file.write("more\n")
    assert path() != first


def test_worker_processes_write_what_one_process_writes(
    tmp_path, tokenizer, monkeypatch
):
    examples, config = many(tmp_path, 10), WindowConfig(10, 3, 2)
    vocab = str(tmp_path / "vocab.txt")
    settings = (functools.partial(WordPieces, vocab), config)
    alone = list(squad_features._records(examples, settings))
    monkeypatch.setattr(squad_features, "_CHUNK", 4)
    monkeypatch.setattr(squad_features, "_FEW", 0)
    monkeypatch.setattr(squad_features.os, "sched_getaffinity", lambda _: {0, 1})
    # One process loads TensorFlow, and the workers are copies of it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([squad_features.__name__])
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    assert list(squad_features._records(examples, settings)) == alone
