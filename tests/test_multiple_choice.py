"""The Story Cloze test's files, and choices in the user's own."""

import pytest
import tiny_gpt

from data_pipeline.readers.custom import CustomProcessor
from data_pipeline.readers.rocstories import RocStoriesProcessor


def test_a_story_has_four_sentences_and_two_endings(tmp_path):
    folder = tiny_gpt.write_stories(tmp_path / "roc")
    path = next((tmp_path / "roc").glob("*ALL_test*"))
    lines = path.read_text().splitlines()
    first = lines[1].replace('"', "").split(",")
    examples = RocStoriesProcessor().get_test_examples(folder)
    assert len(examples) == 7
    assert examples[0].guid == "id-test-0"
    assert examples[0].text_a == " ".join(first[1:5])
    assert examples[0].endings == tuple(first[5:7])
    assert examples[0].label == first[7]


def test_the_folder_may_have_the_characters_of_patterns(tmp_path):
    for name in ("a1", "a[1]", "a*"):  # the first matches the others as patterns
        folder = tiny_gpt.write_stories(tmp_path / name)
        assert len(RocStoriesProcessor().get_test_examples(folder)) == 7


def test_the_labelled_stories_are_split_as_the_original_splits_them(tmp_path):
    model_selection = pytest.importorskip("sklearn.model_selection")
    processor = RocStoriesProcessor()
    folder = tiny_gpt.write_stories(tmp_path / "roc", number=401)
    guids = [f"id-val-{i}" for i in range(401)]
    train, dev = model_selection.train_test_split(
        guids, test_size=374, random_state=3535999445
    )
    assert [e.guid for e in processor.get_train_examples(folder)] == train
    assert [e.guid for e in processor.get_dev_examples(folder)] == dev


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",1\n", ",3\n", r"csv, line \d+: unknown label '3'; known: \['1', '2'\]"),
        ("InputSentence3", "Sentence3", r"csv: no column 'InputSentence3'"),
    ],
)
def test_broken_files_are_errors_that_name_the_place(tmp_path, old, new, message):
    folder = tiny_gpt.write_stories(tmp_path / "roc")
    path = next((tmp_path / "roc").glob("*val*"))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        RocStoriesProcessor().get_train_examples(folder)


def test_too_few_stories_and_missing_files_are_refused(tmp_path):
    processor = RocStoriesProcessor()
    folder = tiny_gpt.write_stories(tmp_path / "roc", number=374)
    with pytest.raises(ValueError, match=r"374 stories; 374 are set aside"):
        processor.get_dev_examples(folder)
    with pytest.raises(FileNotFoundError, match=r"cloze_test_ALL_test.*0 files"):
        processor.get_test_examples(str(tmp_path))


def test_own_choices_name_the_right_ending_or_its_number(tmp_path):
    rows = ["story,one,two,three,y", "a b,c,d,e,two", "f,g,h,i,3"]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    processor = CustomProcessor(
        "story",
        "y",
        label_kind="multiple_choice",
        ending_columns=["one", "two", "three"],
    )
    examples = processor.get_train_examples(str(tmp_path))
    assert processor.get_labels() == ["one", "two", "three"]
    assert [(e.text_a, e.endings) for e in examples] == [
        ("a b", ("c", "d", "e")),
        ("f", ("g", "h", "i")),
    ]
    assert [e.label for e in examples] == ["two", "three"]
    (tmp_path / "train.csv").write_text("\n".join([rows[0], "a,c,d,e,4"]) + "\n")
    with pytest.raises(ValueError, match=r"train.csv, line 2: unknown label '4'"):
        processor.get_train_examples(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "endings"), [("multiple_choice", ["one"]), ("single_label", ["a", "b"])]
)
def test_endings_and_multiple_choice_belong_together(kind, endings):
    with pytest.raises(ValueError, match="multiple_choice wants two or more"):
        CustomProcessor("a", "y", label_kind=kind, ending_columns=endings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "it wants a text_b_column"),
        ({"text_b_column": "b", "ending_columns": ["c", "d"]}, "'b' with .*'c', 'd'"),
    ],
)
def test_only_pairs_of_texts_have_two_orders(given, message):
    kind = "multiple_choice" if "ending_columns" in given else "regression"
    with pytest.raises(ValueError, match=message):
        CustomProcessor("a", "y", label_kind=kind, symmetric=True, **given)
