"""GLUE's and XNLI's files as their publishers lay them out."""

import pytest

import metrics
from data_pipeline.readers import glue
from data_pipeline.readers.examples import DataProcessor, InputExample


def write(folder, name, *lines):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), "utf-8")


def read(task, folder, split):
    return getattr(glue.PROCESSORS[task](), f"get_{split}_examples")(str(folder))


MNLI = [
    "index",
    "promptID",
    "pairID",
    "genre",
    "s1_bp",
    "s2_bp",
    "s1_p",
    "s2_p",
    "sentence1",
    "sentence2",
]
STSB = ["index", "genre", "filename", "year", "old_index", "source1", "source2"]
# task: (header, row, wanted example) of a labelled file and of the test file.
LAYOUTS = {
    "sst-2": (
        (["sentence", "label"], ["so good ", "1"], ("so good ", None, "1")),
        (["index", "sentence"], ["0", "bad"], ("bad", None, None)),
    ),
    "qqp": (
        (
            ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
            ["9", "1", "2", "how?", "why?", "0"],
            ("how?", "why?", "0"),
        ),
        (["id", "question1", "question2"], ["0", "a?", "b?"], ("a?", "b?", None)),
    ),
    "qnli": (
        (
            ["index", "question", "sentence", "label"],
            ["4", "who?", "He.", "not_entailment"],
            ("who?", "He.", "not_entailment"),
        ),
        (["index", "question", "sentence"], ["0", "q", "s"], ("q", "s", None)),
    ),
    "rte": (
        (
            ["index", "sentence1", "sentence2", "label"],
            ["4", "p", "h", "entailment"],
            ("p", "h", "entailment"),
        ),
        (["index", "sentence1", "sentence2"], ["0", "p2", "h2"], ("p2", "h2", None)),
    ),
    "wnli": (
        (
            ["index", "sentence1", "sentence2", "label"],
            ["4", "p", "h", "1"],
            ("p", "h", "1"),
        ),
        (["index", "sentence1", "sentence2"], ["0", "p2", "h2"], ("p2", "h2", None)),
    ),
    "sts-b": (
        (
            [*STSB, "sentence1", "sentence2", "score"],
            [*"0123456", "a", "b", "3.800"],
            ("a", "b", 3.8),
        ),
        (
            [*STSB, "sentence1", "sentence2"],
            [*"0123456", "c", "d"],
            ("c", "d", None),
        ),
    ),
    "mrpc": (
        (
            ["\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
            ["1", "7", "8", 'He said "yes', "yes, he said"],
            ('He said "yes', "yes, he said", "1"),
        ),
        (
            ["index", "#1 ID", "#2 ID", "#1 String", "#2 String"],
            ["0", "7", "8", "x", "y"],
            ("x", "y", None),
        ),
    ),
}


@pytest.mark.parametrize("task", LAYOUTS)
def test_labelled_and_test_files_are_read_by_their_headers(task, tmp_path):
    (header, row, (a, b, label)), (test_header, test_row, test_want) = LAYOUTS[task]
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path, name, header, row, row)
    write(tmp_path, "test.tsv", test_header, test_row)
    train = read(task, tmp_path, "train")
    assert train == [InputExample(f"train-{i}", a, b, label) for i in (1, 2)]
    assert read(task, tmp_path, "dev")[0] == InputExample("dev-1", a, b, label)
    assert read(task, tmp_path, "test") == [InputExample("test-1", *test_want)]


def test_cola_has_a_header_in_its_test_file_only(tmp_path):
    for name in ("train.tsv", "dev.tsv"):
        write(tmp_path, name, ["gj04", "1", "", "Fine."], ["gj04", "0", "*", "Not."])
    write(tmp_path, "test.tsv", ["index", "sentence"], ["0", "Perhaps."])
    assert read("cola", tmp_path, "train") == [
        InputExample("train-0", "Fine.", None, "1"),
        InputExample("train-1", "Not.", None, "0"),
    ]
    assert len(read("cola", tmp_path, "dev")) == 2
    assert read("cola", tmp_path, "test") == [InputExample("test-1", "Perhaps.")]


def test_mnli_has_a_matched_and_a_mismatched_set(tmp_path):
    middle = [str(i) for i in range(1, 8)]
    for name, a in (("dev_matched", "p"), ("dev_mismatched", "q"), ("train", "t")):
        header = [*MNLI, "label1", "gold_label"]
        row = ["31", *middle, a, "h", "neutral", "entailment"]
        write(tmp_path, f"{name}.tsv", header, row)
    for name, a in (("test_matched", "r"), ("test_mismatched", "s")):
        write(tmp_path, f"{name}.tsv", MNLI, ["5", *middle, a, "h"])
    processor, folder = glue.MnliProcessor(), str(tmp_path)
    label = "entailment"
    assert processor.get_train_examples(folder) == [
        InputExample("train-31", "t", "h", label)
    ]
    assert processor.get_dev_examples(folder) == [
        InputExample("dev_matched-31", "p", "h", label)
    ]
    assert processor.extra_dev_sets(folder) == {
        "mismatched": [InputExample("dev_mismatched-31", "q", "h", label)]
    }
    assert processor.get_test_examples(folder) == [InputExample("test-5", "r", "h")]
    assert processor.extra_test_sets(folder) == {
        "mismatched": [InputExample("test_mismatched-5", "s", "h")]
    }


def test_xnli_takes_one_language_and_mends_the_training_labels(tmp_path):
    write(
        tmp_path,
        "multinli/multinli.train.zh.tsv",
        ["premise", "hypo", "label"],
        ["我", "你", "contradictory"],
    )
    header = ["language", "gold_label", "sentence1", "sentence2"]
    lines = [["ar", "neutral", "x", "y"], ["zh", "neutral", "他", "她"]]
    write(tmp_path, "xnli.dev.tsv", header, *lines)
    write(tmp_path, "xnli.test.tsv", header, *lines)
    assert read("xnli", tmp_path, "train") == [
        InputExample("train-1", "我", "你", "contradiction", language="zh")
    ]
    for split in ("dev", "test"):
        example = InputExample(f"{split}-2", "他", "她", "neutral", language="zh")
        assert read("xnli", tmp_path, split) == [example]
    both = glue.XnliProcessor("zh", ["zh", "ar"])
    for split, sets in (("dev", both.extra_dev_sets), ("test", both.extra_test_sets)):
        example = InputExample(f"{split}-1", "x", "y", "neutral", language="ar")
        assert sets(str(tmp_path)) == {"ar": [example]}
    with pytest.raises(ValueError, match=r"xnli\.dev\.tsv: no rows of language 'sw'"):
        glue.XnliProcessor("sw").get_dev_examples(str(tmp_path))


def test_glue_files_win_over_the_raw_files_beside_them(tmp_path):
    header = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"):
        write(tmp_path, name, header, ["1", "1", "2", "raw", "raw"])
    for split in ("train", "dev", "test"):
        assert read("mrpc", tmp_path, split)[0].label == "1"
    write(tmp_path, "train.tsv", header, ["0", "1", "2", "glue", "glue"])
    assert read("mrpc", tmp_path, "train")[0].text_a == "glue"
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv"):
        read("mrpc", tmp_path, "dev")


def test_mrpc_folder_without_either_layout_names_both(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.tsv.*msr_paraphrase_train"):
        read("mrpc", tmp_path, "train")


def test_unknown_label_is_named_with_file_line_and_known_labels(tmp_path):
    write(tmp_path, "dev.tsv", ["sentence", "label"], ["a", "1"], ["b", "2"])
    with pytest.raises(
        ValueError, match=r"dev\.tsv, line 3: unknown label '2'; known: \['0', '1'\]"
    ):
        read("sst-2", tmp_path, "dev")


@pytest.mark.parametrize("score", ["", "nan", "inf", "good"])
def test_score_that_is_no_number_is_named(tmp_path, score):
    header = [*STSB, "sentence1", "sentence2", "score"]
    write(tmp_path, "train.tsv", header, [*"0123456", "a", "b", score])
    with pytest.raises(ValueError, match=r"train\.tsv, line 2: wanted a finite number"):
        read("sts-b", tmp_path, "train")


def test_corrupted_rows_are_left_out_of_qqp_training_but_not_of_its_test(tmp_path):
    header, row, _ = LAYOUTS["qqp"][0]
    write(tmp_path, "train.tsv", header, row[:4], row)
    assert [e.guid for e in read("qqp", tmp_path, "train")] == ["train-2"]
    write(tmp_path, "test.tsv", ["id", "question1", "question2"], ["0", "a"])
    with pytest.raises(ValueError, match=r"test\.tsv, line 2"):
        read("qqp", tmp_path, "test")


def test_every_task_has_known_metrics_and_the_parents_label_order():
    for name, processor in glue.PROCESSORS.items():
        assert set(processor.metrics) <= set(metrics.METRICS), name
        assert processor.main_metric in processor.metrics, name
    nli = ["contradiction", "entailment", "neutral"]
    assert glue.MnliProcessor().get_labels() == nli
    assert glue.XnliProcessor().get_labels() == nli
    assert glue.MrpcProcessor().get_labels() == ["0", "1"]
    assert glue.StsbProcessor().get_labels() == []


def test_processor_without_sets_says_so():
    with pytest.raises(NotImplementedError):
        DataProcessor().get_train_examples("anywhere")
    assert DataProcessor().extra_dev_sets("anywhere") == {}


@pytest.mark.shared_data
def test_raw_mrpc_is_read_whole(shared_dir):
    train = read("mrpc", shared_dir / "mrpc", "train")
    dev = read("mrpc", shared_dir / "mrpc", "dev")
    assert (len(train), len(dev)) == (4076, 1725)
    assert train[0].text_a.startswith('Amrozi accused his brother, whom he called "the')
    assert sum(e.label == "1" for e in dev) == 1147


@pytest.mark.shared_data
def test_sst2_is_read_whole_and_misses_its_test_file_only_when_asked(shared_dir):
    train = read("sst-2", shared_dir / "sst2", "train")
    dev = read("sst-2", shared_dir / "sst2", "dev")
    assert (len(train), len(dev)) == (67349, 872)
    with pytest.raises(FileNotFoundError, match=r"test\.tsv: no such file"):
        read("sst-2", shared_dir / "sst2", "test")
