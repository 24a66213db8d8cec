"""Files of tagged words: what is read, what is written, and what is refused where."""

import logging

import conlleval
import numpy as np
import pytest

from data_pipeline.readers import conll

# One sentence, two people who touch, in each of the schemes.
WORDS = ["Ada", "King", "Lovelace", "Babbage", "met", "IBM"]
TAGGED = {
    "IOB1": ["I-PER", "I-PER", "I-PER", "B-PER", "O", "I-ORG"],
    "BIO": ["B-PER", "I-PER", "I-PER", "B-PER", "O", "B-ORG"],
    "IOBES": ["B-PER", "I-PER", "E-PER", "S-PER", "O", "S-ORG"],
    "BMES": ["B-PER", "M-PER", "E-PER", "S-PER", "O", "S-ORG"],
    "BILOU": ["B-PER", "I-PER", "L-PER", "U-PER", "O", "U-ORG"],
}
ENTITIES = list(TAGGED)


def write(folder, text, name="file.txt"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(path, scheme="BIO", data_format="conll", **kwargs):
    return conll.read(path, data_format, scheme=scheme, **kwargs)


def sentences(text):
    """Words of each sentence."""
    return [part.tolist() for part in np.split(text.words, text.offsets[1:-1])]


@pytest.mark.parametrize("source", ENTITIES)
@pytest.mark.parametrize("target", ENTITIES)
def test_every_scheme_becomes_every_other(source, target):
    # Twice, so that a sentence's end ends an entity.
    tags = np.array([*TAGGED[source], *TAGGED[source][::-1]] * 2, object)
    once = conll.convert(np.array(TAGGED[source], object), np.array([0, 6]), target)
    assert once.tolist() == TAGGED[target]
    offsets = np.arange(0, 25, 6)
    there = conll.convert(tags[: offsets[-1]], offsets, target)
    back = conll.convert(there, offsets, source)
    again = conll.convert(back, offsets, target)
    np.testing.assert_array_equal(again, there)


def test_inner_words_and_the_lack_of_a_type_are_written_as_each_scheme_has_them():
    tags = np.array(["B-X", "I-X", "E-X", "S-X", "S-X", "O"], object)
    untyped = np.array([tag[0] for tag in tags], object)
    for scheme, wanted in {
        "IOB1": "I I I B B O",
        "BIO": "B I I B B O",
        "IOBES": "B I E S S O",
        "BMES": "B M E S S O",
        "BILOU": "B I L U U O",
    }.items():
        letters = wanted.split()
        typed = [f"{c}-X" if c != "O" else c for c in letters]
        offsets = np.array([0, 6])
        assert conll.convert(tags, offsets, scheme).tolist() == typed
        assert conll.convert(untyped, offsets, scheme).tolist() == letters
        back = conll.convert(np.array(letters, object), offsets, "IOBES")
        assert back.tolist() == untyped.tolist()


def test_a_sentence_does_not_go_on_with_the_entity_of_the_one_before():
    tags = np.array(["I-PER", "I-PER", "I-PER"], object)
    for scheme, wanted in {
        "IOB1": ["I-PER", "I-PER", "I-PER"],
        "BIO": ["B-PER", "I-PER", "B-PER"],
        "IOBES": ["B-PER", "E-PER", "S-PER"],
    }.items():
        assert conll.convert(tags, np.array([0, 2, 3]), scheme).tolist() == wanted


def test_ill_formed_tags_are_read_as_conlleval_reads_them():
    tags = np.array(["O", "I-PER", "I-LOC", "E-LOC", "I-LOC", "S-LOC"], object)
    found = conll.convert(tags, np.array([0, 6]), "BIO").tolist()
    assert found == ["O", "B-PER", "B-LOC", "I-LOC", "B-LOC", "B-LOC"]


def test_columns_separators_and_documents_are_read(tmp_path):
    text = (
        "-DOCSTART- -X- O O\n\n\nAda NNP I-NP B-PER\nmet  VBD\tI-VP O\r\n\n"
        "# # I-NP O\n-DOCSTART- -X- O O\nIBM NNP I-NP B-ORG\n\n\n"
    )
    found = read(write(tmp_path, text))
    assert sentences(found) == [["Ada", "met"], ["#"], ["IBM"]]
    assert found.tags.tolist() == ["B-PER", "O", "O", "B-ORG"]
    assert found.numbers.tolist() == [4, 5, 7, 9]
    assert found.num_sentences == 3


def test_columns_are_chosen_by_flag(tmp_path):
    path = write(tmp_path, "1 B-PER Ada x\n2 O met y\n")
    found = read(path, token_column=2, tag_column=1)
    assert found.words.tolist() == ["Ada", "met"]
    assert found.tags.tolist() == ["B-PER", "O"]
    assert read(path, token_column=-2, tag_column=-3).tags.tolist() == ["B-PER", "O"]


def test_predictions_stand_in_one_more_column_and_nothing_else_changes(tmp_path):
    text = "-DOCSTART- O\n\nAda B-PER\nmet O\n\n\nIBM B-ORG\n"
    output = tmp_path / "out" / "predictions.txt"
    read(write(tmp_path, text)).write(str(output), ["B-PER", "B-ORG", "O"])
    assert output.read_text() == (
        "-DOCSTART- O O\n\nAda B-PER B-PER\nmet O B-ORG\n\n\nIBM B-ORG O\n"
    )
    assert [path.name for path in output.parent.iterdir()] == ["predictions.txt"]


@pytest.mark.parametrize(
    ("text", "kwargs", "delimiter", "written"),
    [
        # A line between documents gets as many columns as a word's.
        (
            "-DOCSTART- -X- O\n\nAda X B-PER\n\n-DOCSTART-\nIBM X B-ORG\n",
            {},
            None,
            "-DOCSTART- -X- O O\n\nAda X B-PER B-PER\n\n-DOCSTART- O O O\n"
            "IBM X B-ORG B-ORG\n",
        ),
        (
            "-DOCSTART-\tO\nNew York\tB-LOC\n\n-DOCSTART- O\n \tO\n",
            {},
            "\t",
            "-DOCSTART-\tO\tO\nNew York\tB-LOC\tB-LOC\n\n-DOCSTART- O\tO\tO\n \tO\tO\n",
        ),
        # Where the right tag is not the last column, it is said again.
        (
            "-DOCSTART- 0 O\nB-PER 1 Ada\nO 2 met\n",
            {"token_column": 2, "tag_column": 0},
            None,
            "-DOCSTART- 0 O O O\nB-PER 1 Ada B-PER B-PER\nO 2 met O O\n",
        ),
    ],
    ids=["documents", "tabs", "columns"],
)
def test_predictions_are_what_conlleval_reads(
    tmp_path, text, kwargs, delimiter, written
):
    found, output = read(write(tmp_path, text), **kwargs), tmp_path / "out.txt"
    found.write(str(output), found.tags)
    assert output.read_text() == written
    assert conlleval.f1(output, delimiter) == 1


def test_words_may_hold_spaces_where_every_line_has_a_tab(tmp_path):
    text = "New York\tX\tB-LOC\r\n \tX\tO\n\u3000\tX\t O \t\n\t\n\nis\tX\tO\n"
    found = read(write(tmp_path, text))
    assert sentences(found) == [["New York", " ", "\u3000"], ["is"]]
    assert found.tags.tolist() == ["B-LOC", "O", "O", "O"]
    # One line without, and all are parted at blanks, too.
    found = read(write(tmp_path, "New York\tB-LOC\nis x O\n"), token_column=1)
    assert sentences(found) == [["York", "x"]]


def test_labels_of_single_words_are_a_scheme(tmp_path):
    path = write(tmp_path, "time NN\nflies VBZ\n\n. O\nlike B-\n")
    found = read(path, "plain")
    assert found.tags.tolist() == ["NN", "VBZ", "O", "B-"]
    labels = conll.scheme_tags(found.tags, "plain")
    assert labels == ("B-", "NN", "O", "VBZ")
    assert conll.tag_ids(found, "plain", labels).tolist() == [1, 3, 2, 0]
    np.testing.assert_array_equal(
        conll.convert(found.tags, found.offsets, "plain"), found.tags
    )


def test_tags_without_a_type_are_tags(tmp_path):
    found = read(write(tmp_path, "a\tB\nb\tI\n\nc\tO"))
    assert conll.scheme_tags(found.tags, "BIO") == ("O", "B", "I")
    assert conll.scheme_tags(found.tags, "BILOU") == ("O", "B", "I", "L", "U")
    assert conll.scheme_tags(np.array(["O"], object), "BIO") == ("O",)


@pytest.mark.parametrize(
    ("text", "scheme", "labels", "number", "kept"),
    [
        ("a B-NEW\nb I-NEW\nc B-X\n", "BIO", ("O", "B-X", "I-X"), 2, "O O B-X"),
        ("a B\nb I\nc O\n", "BIO", ("O", "B-X", "I-X"), 2, "O O O"),
        ("a B-X\nb O\n", "BIO", ("O", "B-X", "I-X"), 0, "B-X O"),
        ("a NN\nb O\nc VB\n", "plain", ("NN", "VB"), 1, "NN NN VB"),
    ],
)
def test_tags_that_training_never_saw_are_taken_out_and_counted(
    tmp_path, caplog, text, scheme, labels, number, kept
):
    found = read(write(tmp_path, text), scheme)
    with caplog.at_level(logging.WARNING, "absl"):
        known, unseen = conll.without_unseen(found, scheme, labels)
    assert (unseen, known.tags.tolist()) == (number, kept.split())
    assert found.tags.tolist() == text.split()[1::2]
    conll.tag_ids(known, scheme, labels)
    named = f"{number} words were never seen in training, such as '{text.split()[1]}'"
    if text.startswith("a NN"):
        named = "1 words were never seen in training, such as 'O'"
    assert (named in caplog.text) == bool(number)


def test_tsv_files_are_read_and_written_as_columns(tmp_path):
    text = "text_a\tlabel\nAda met IBM\tB-PER O B-ORG\n在 此\tO O\n"
    found = read(write(tmp_path, text), data_format="tsv")
    assert sentences(found) == [["Ada", "met", "IBM"], ["在", "此"]]
    assert found.numbers.tolist() == [2, 2, 2, 3, 3]
    found.write(str(tmp_path / "out.txt"), ["1", "2", "3", "4", "5"])
    assert (tmp_path / "out.txt").read_text() == (
        "Ada B-PER 1\nmet O 2\nIBM B-ORG 3\n\n在 O 4\n此 O 5\n"
    )


def test_files_without_tags_are_read_where_they_may_be(tmp_path):
    columns = write(tmp_path, "Ada\nmet\n\nIBM\n")
    found = read(columns, labelled=False)
    assert found.tags is None
    assert sentences(found) == [["Ada", "met"], ["IBM"]]
    # As the training files have it: the fourth column, which is not there.
    assert read(write(tmp_path, "Ada NNP\n"), labelled=False, tag_column=3).tags is None
    tsv = write(tmp_path, "text_a\nAda met\n")
    assert read(tsv, data_format="tsv", labelled=False).tags is None
    # Other columns, which are no tags.
    other = write(tmp_path, "Ada NNP\n\nmet VBD\n")
    found = read(other, labelled=False, tag_column=None)
    assert found.tags is None
    assert found.words.tolist() == ["Ada", "met"]
    labelled = write(tmp_path, "text_a\tlabel\nAda met\tsome words more\n")
    found = read(labelled, data_format="tsv", labelled=False, tag_column=None)
    assert (found.tags, found.width) == (None, 1)
    # Tags that are there are read.
    both = write(tmp_path, "Ada B-PER\n")
    assert read(both, labelled=False).tags.tolist() == ["B-PER"]


def test_a_sample_holds_whole_sentences_and_depends_on_the_seed_only(tmp_path):
    text = "".join(f"a{i} O\nb{i} B-X\n\n" for i in range(20))
    found = read(write(tmp_path, text))
    drawn = found.sample(7, seed=3)
    assert drawn.num_sentences == 7
    rows = [int(words[0][1:]) for words in sentences(drawn)]
    assert sentences(drawn) == [[f"a{i}", f"b{i}"] for i in rows]
    assert len(set(rows)) == 7
    assert sentences(found.sample(7, seed=3)) == sentences(drawn)
    assert sentences(found.sample(7, seed=4)) != sentences(drawn)
    assert found.sample(20, seed=3) is found


def test_all_tags_of_the_types_at_hand_are_labels():
    tags = np.array(["O", "B-PER", "B-LOC"], object)
    assert conll.scheme_tags(tags, "BIO") == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert len(conll.scheme_tags(tags, "IOBES")) == 9


@pytest.mark.parametrize("source", ENTITIES)
@pytest.mark.parametrize("stated", ENTITIES)
def test_a_file_in_another_scheme_than_stated_is_refused(tmp_path, source, stated):
    lines = [f"{word} {tag}" for word, tag in zip(WORDS, TAGGED[source], strict=True)]
    path = write(tmp_path, "\n".join(["of O", *lines, ""]))
    if stated == source:
        assert read(path, stated).tags.tolist()[1:] == TAGGED[source]
        return
    bad = next(i for i in range(6) if TAGGED[source][i] != TAGGED[stated][i])
    message = (
        f"file.txt, line {bad + 2}: '{TAGGED[source][bad]}' at '{WORDS[bad]}', "
        f"where --tag_scheme={stated} has '{TAGGED[stated][bad]}'"
    )
    with pytest.raises(ValueError, match=message):
        read(path, stated)


@pytest.mark.parametrize(
    ("text", "kwargs", "message"),
    [
        ("a O\nb\n", {}, "line 2: 1 columns, but line 1 has 2"),
        ("good word1 bad\nword2 bad\n", {}, "line 2: .*wanted a word a line, with an"),
        ("a b c\n", {"labelled": False}, "line 1: 'c' is no tag.*--tag_column=none"),
        ("a O\n", {"tag_column": None}, "--tag_column=none, but its tags are needed"),
        (
            "text_a\tlabel\na\tO\n",
            {"data_format": "tsv", "tag_column": None},
            "--tag_column=none, but its tags are needed",
        ),
        ("a B\nb O\nc B-X\n", {}, "line 1: 'B' has no type, but 'B-X' on line 3 has"),
        ("a\tO\n\tO\n", {}, "line 2: column 0 is empty"),
        ("a\tx\tO\na\t\tO\n", {}, "line 2: column 1 is empty"),
        ("a x O\n\nb x y O\n", {}, "line 3: 4 columns, but line 1 has 3"),
        ("a O\nb PER\n", {}, "line 2: 'PER' is no tag; wanted O"),
        ("a O\nb B-\n", {}, "line 2: 'B-' is no tag"),
        ("a O\n", {"tag_column": 2}, "--tag_column=2, but there are 2 columns"),
        ("a O\n", {"token_column": -3}, "--token_column=-3, but there are 2"),
        ("a\nb\n", {}, "--tag_column=-1 is the column of the words"),
        ("-DOCSTART- O\n\n", {}, "no word"),
        (" \n", {}, "empty"),
        ("text_a\tlabel\na b\tO\n", {"data_format": "tsv"}, "line 2: 2 words, but 1"),
        ("text_a\tlabel\na\tO\tO\n", {"data_format": "tsv"}, "line 2: wanted 2"),
        ("text\tlabel\na\tO\n", {"data_format": "tsv"}, "no column 'text_a'"),
        ("text_a\na\n", {"data_format": "tsv"}, "no column 'label'"),
        ("text_a\tlabel\n\t\n", {"data_format": "tsv"}, "no word"),
    ],
)
def test_bad_files_are_refused_by_name_and_line(tmp_path, text, kwargs, message):
    with pytest.raises(ValueError, match=f"file.txt.*{message}"):
        read(write(tmp_path, text), **kwargs)


@pytest.mark.shared_data
def test_the_shared_files_are_what_their_readme_says(shared_dir):
    train = read(str(shared_dir / "conll2003/eng.testa"), "IOB1")
    assert (train.num_sentences, len(train.words)) == (3250, 51362)
    assert len(conll.scheme_tags(train.tags, "BIO")) == 9
    msra = read(str(shared_dir / "msra_ner/dev.tsv"), data_format="tsv")
    assert conll.scheme_tags(msra.tags, "BIO")[1::2] == ("B-LOC", "B-ORG", "B-PER")
    assert "".join(sentences(msra)[0][:5]) == "在这里恕弟"
