"""Word vectors are scored as gensim scores them; what cannot be asked is told."""

import collections
import importlib.util
import json
import pathlib

import numpy as np
import pytest
import scripts

from checkpoints import word_vectors as files
from data_pipeline.readers import word_evaluations
from errors import UserError
from inference import word_maps
from metrics import word_vectors as metrics

GOLDEN = pathlib.Path(__file__).parent / "golden/word_evaluation"
GENSIM = json.loads((GOLDEN / "gensim.json").read_text())
VECTORS = f"--vectors={GOLDEN / 'vectors.txt'}"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
OPTIONS = {
    "default": (),
    "case_insensitive=0": ("--nocase_insensitive",),
    "dummy4unknown": ("--dummy4unknown",),
    "restrict_vocab=250": ("--restrict_vocab=250",),
}


def evaluate(folder, *arguments):
    """Runs the script; returns what it wrote."""
    out = folder / "out"
    scripts.run("evaluate_word_vectors", VECTORS, f"--output_dir={out}", *arguments)
    return json.loads((out / "eval_results.json").read_text())


@pytest.mark.parametrize("option", OPTIONS)
def test_files_are_scored_as_gensim_scores_them(option, tmp_path, capsys):
    results = evaluate(
        tmp_path,
        f"--similarity_file={GOLDEN / 'pairs.tsv'}",
        f"--analogy_file={GOLDEN / 'questions.txt'}",
        *OPTIONS[option],
    )
    pairs = results["similarity"]["pairs"]
    pearson, spearman, unknown = GENSIM["pairs"][option]
    np.testing.assert_allclose(pairs["pearson"], pearson, atol=1e-6)
    np.testing.assert_allclose(pairs["spearman"], spearman, atol=1e-6)
    np.testing.assert_allclose(1 - pairs["coverage"], unknown / 100, atol=1e-9)
    assert pairs["pairs"] == 60
    assert f"similarity/pairs/spearman = {spearman:.4f}\n" in capsys.readouterr().out

    analogies = results["analogies"]["questions"]
    assert analogies["questions"] == 350
    for measure in ("3cosadd", "3cosmul"):
        scores = analogies[measure]
        counts = {
            name: [count["correct"], count["questions"]]
            for name, count in (
                *scores["sections"].items(),
                ("Total accuracy", scores["total"]),
            )
        }
        assert counts == GENSIM[measure][option]


def test_semantic_and_syntactic_sections_make_the_total(tmp_path, capsys):
    results = evaluate(tmp_path, f"--analogy_file={GOLDEN / 'questions.txt'}")
    scores = results["analogies"]["questions"]["3cosadd"]
    gensim = GENSIM["3cosadd"]["default"]
    sums = collections.Counter()
    for name, (correct, _) in gensim.items():
        sums[name.startswith("gram")] += correct * (name != "Total accuracy")
    assert scores["semantic"]["correct"] == sums[False]
    assert scores["syntactic"]["correct"] == sums[True]
    shown = (
        f"analogies/questions/3cosadd/total = 0.2000 ({sum(sums.values())} of 320)\n"
    )
    assert shown in capsys.readouterr().out


def test_words_are_looked_up_as_gensim_does(tmp_path):
    results = evaluate(
        tmp_path,
        "--nearest=king,King",
        "--analogy=man,king,woman",
        "--odd_one_out=king,queen,woman,england",
        "--topn=5",
    )

    def check(found, wanted):
        assert list(found) == [word for word, _ in wanted]
        np.testing.assert_allclose(
            list(found.values()), [score for _, score in wanted], atol=1e-6
        )

    check(results["nearest"]["king"], GENSIM["nearest"])
    assert next(iter(results["nearest"]["King"])) == "king"
    for measure, wanted in GENSIM["analogy"].items():
        check(results["analogy"]["man,king,woman"][measure], wanted)
    odd = results["odd_one_out"]["king,queen,woman,england"]
    assert odd == GENSIM["odd_one_out"]


def test_blocks_do_not_change_answers(monkeypatch):
    rng = np.random.default_rng(5)
    unit = metrics.unit_vectors(rng.standard_normal((53, 7)))
    first = np.where(np.arange(53) % 6, np.arange(53), 0)  # nine spellings of a word
    questions = first[rng.integers(53, size=(31, 3))]
    answers = {name: [] for name in metrics.MEASURES}
    for a, b, c in questions:
        cosines = unit @ unit[[a, b, c]].T
        moved = (1 + cosines) / 2
        scores = {
            "3cosadd": cosines[:, 1] - cosines[:, 0] + cosines[:, 2],
            "3cosmul": moved[:, 1] * moved[:, 2] / (moved[:, 0] + 1e-6),
        }
        taken = np.isin(first, [a, b, c])
        for name, score in scores.items():
            answers[name].append(int(np.where(taken, -np.inf, score).argmax()))
    for name, size in (("_QUESTIONS", 13), ("_COLUMNS", 11), ("_SCORES", 5)):
        monkeypatch.setattr(metrics, name, size)
    solved = metrics.solve_analogies(unit, questions, first)
    assert {name: found.tolist() for name, found in solved.items()} == answers


def test_a_question_without_other_words_has_no_answer():
    unit = metrics.unit_vectors(np.eye(3))
    questions = np.array([[0, 1, 2, 0]])
    scores = metrics.analogy_scores(unit, questions, ["gram1"], np.arange(3))
    assert scores["3cosadd"]["total"]["correct"] == 0
    assert "semantic" not in scores["3cosadd"]
    assert metrics.analogy(unit, 0, 1, 2, topn=4)["3cosmul"] == []


def test_zeros_are_near_nothing():
    unit = metrics.unit_vectors(np.array([[0, 0], [3, 4], [6, 8]], np.float32))
    np.testing.assert_allclose(unit, [[0, 0], [0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


PAIRS = {
    "wordsim353's combined.csv": "Word 1,Word 2,Human (mean)\nNew York,sex,6.77\n",
    "its set1.tab": "Word 1\tWord 2\tHuman (mean)\t1\t2\nNew York\tsex\t6.77\t9\t6\n",
    "SimLex-999": "word1\tword2\tPOS\tSimLex999\nNew York\tsex\tA\t6.77\t2.7\n",
    "comments": "# words\n\n#\nNew York\tsex\t6.77\r\n",
}


@pytest.mark.parametrize("name", PAIRS)
def test_files_of_pairs_are_read(name, tmp_path):
    (tmp_path / "pairs").write_text(PAIRS[name], newline="")
    words, scores = word_evaluations.read_pairs(str(tmp_path / "pairs"))
    assert words == [["New York", "sex"]]
    assert scores.tolist() == [6.77]


def test_pairs_between_spaces_are_read(tmp_path):
    (tmp_path / "MEN").write_text("sun sunlight 50.0\na  b 9\n")
    words, scores = word_evaluations.read_pairs(str(tmp_path / "MEN"))
    assert words == [["sun", "sunlight"], ["a", "b"]]
    assert scores.tolist() == [50, 9]


def test_questions_above_the_first_section_go_by_the_file(tmp_path):
    (tmp_path / "mine.txt").write_text("a b c d\n: gram1\n: more\nE f g h\n")
    questions = word_evaluations.read_questions(str(tmp_path / "mine.txt"))
    assert questions.sections == ["mine", "more"]
    assert questions.words[1] == ["E", "f", "g", "h"]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        ("read_pairs", "a b 1\nc d x\n", "line 2: got 'c d x', wanted two words and"),
        ("read_pairs", "a b 1\na b nan\n", "line 2: got 'a b nan'"),
        ("read_pairs", "# a b 1\n", "no line has two words and a number"),
        ("read_pairs", "\na b c\n", "line 2: got 'a b c', wanted two words and a num"),
        ("read_pairs", "a\tb\t1\nc\t\t2\n", "line 2: got .*, wanted two words and a"),
        ("read_questions", ": s\na b c\n", "line 2: got 'a b c', wanted four words"),
        ("read_questions", ": s\n", "no questions"),
        ("read_pairs", "a b 1\n" + "c" * 99, "got 'c{40}', wanted"),
        ("read_questions", "c" * 99, "got 'c{40}', wanted"),
    ],
)
def test_a_wrong_line_is_named(read, text, message, tmp_path):
    (tmp_path / "file").write_text(text)
    with pytest.raises(UserError, match=message):
        getattr(word_evaluations, read)(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing is asked: wanted one of --similarity_file"),
        (("--analogy=a,b",), "--analogy=a,b: wanted three words"),
        (("--odd_one_out=a,b",), "wanted three words or more"),
        (("--classes=3",), "--classes needs --output_dir"),
        (("--plot=a.gif",), "--plot=a.gif: wanted a name in .png"),
        (
            ("--nearest=kinng,Zzyzx", "--analogy=man,king,womn"),
            "no word 'kinng', near it king; .*no word 'Zzyzx'; --analogy: no .*'womn'",
        ),
        (("--classes=277", "--output_dir=x"), "--classes=277: wanted at most 276"),
        (("--similarity_file=PAIRS", "--restrict_vocab=1"), "none of the 60 lines in"),
        (("--similarity_file=PAIRS,PAIRS",), "two files 'PAIRS'; results go by"),
    ],
)
def test_what_cannot_be_asked_is_told(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PAIRS").write_text((GOLDEN / "pairs.tsv").read_text())
    with pytest.raises(UserError, match=message):
        scripts.run("evaluate_word_vectors", VECTORS, *arguments)


def test_results_are_not_written_over_what_is_read(tmp_path):
    vectors = tmp_path / "classes.txt"
    vectors.write_bytes((GOLDEN / "vectors.txt").read_bytes())
    flags = (f"--vectors={vectors}", f"--output_dir={tmp_path}", "--classes=2")
    with pytest.raises(UserError, match="is read as --vectors"):
        scripts.run("evaluate_word_vectors", *flags)


def test_classes_are_those_of_the_vectors(tmp_path):
    rng = np.random.default_rng(2)
    centres = np.array([[5, 0, 0], [0, 2, 0], [0, 0, 9]])
    wanted = rng.integers(3, size=40)
    vectors = centres[wanted] * rng.uniform(0.5, 2, (40, 1))
    vectors += rng.normal(0, 0.1, vectors.shape)
    words = [f"w{i}" for i in range(39)] + ["\udcff"]  # a byte that is no UTF-8
    files.write(str(tmp_path / "v.txt"), files.WordVectors(words, vectors))
    flags = (f"--vectors={tmp_path / 'v.txt'}", "--classes=3", "--seed=4")
    scripts.run("evaluate_word_vectors", *flags, f"--output_dir={tmp_path}")
    lines = (tmp_path / "classes.txt").read_bytes().splitlines()
    assert [line.split()[0] for line in lines[-2:]] == [b"w38", b"\xff"]
    found = [int(line.split()[1]) for line in lines]
    assert len(set(zip(found, wanted.tolist(), strict=True))) == 3
    assert len(set(found)) == 3


def test_a_plot_without_matplotlib_is_refused_before_any_work(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "matplotlib" and find(name)
    )
    with pytest.raises(UserError, match=r'pip install "word2bert\[plot\]"'):
        scripts.run("evaluate_word_vectors", "--vectors=none", "--plot=a.png")


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="no matplotlib")
@pytest.mark.parametrize("method", word_maps.METHODS)
def test_a_plot_has_its_words(method, tmp_path):
    path = tmp_path / f"{method}.svg"
    words = "king,King,man,woman,england"
    flags = (VECTORS, f"--plot={path}", f"--plot_method={method}")
    scripts.run("evaluate_word_vectors", *flags, f"--plot_words={words}")
    text = path.read_text()
    assert all(f">{word}<" in text for word in words.split(","))


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="no matplotlib")
def test_a_plot_of_too_few_words_is_refused(tmp_path):
    with pytest.raises(UserError, match="got 2 words with vectors of 3; wanted"):
        word_maps.draw(str(tmp_path / "a.png"), ["a", "$b"], np.eye(2, 3), "pca", 0)
