"""Counts weighted and factorised: against dense arithmetic and published identities."""

import pathlib

import numpy as np
import pytest
import scripts

from data_pipeline.corpora import cooccurrences
from errors import UserError
from modeling import svd
from training.word_vectors.svd import Svd, read_matrix

GOLDEN = pathlib.Path(__file__).parent / "golden/glove"


def counts(size=9, filled=0.6):
    """A matrix of counts without symmetry, some of whose pairs do not occur."""
    rng = np.random.default_rng(3)
    values = rng.integers(1, 50, (size, size)) * (rng.random((size, size)) < filled)
    values[1, 2] = 400  # far above chance
    return values.astype(float)


def dense_ppmi(values, shift, smoothing):
    """Levy, Goldberg and Dagan 2015, sections 2.1 and 3.1, as they are written."""
    joint = values / values.sum()
    words = joint.sum(1, keepdims=True)
    contexts = values.sum(0) ** smoothing / (values.sum(0) ** smoothing).sum()
    with np.errstate(divide="ignore"):
        information = np.log(joint / (words * contexts))
    return np.maximum(information - np.log(shift), 0)


@pytest.mark.parametrize("shift", [1, 5])
@pytest.mark.parametrize("smoothing", [1, 0.75])
def test_mutual_information_is_that_of_a_dense_matrix(shift, smoothing):
    values = counts()
    found = svd.ppmi(svd.Matrix(values), shift, smoothing)
    expected = dense_ppmi(values, shift, smoothing)
    assert 0 < (expected > 0).sum() < (values > 0).sum()
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)
    assert found.nnz == (expected > 0).sum()


def test_words_and_contexts_that_meet_by_chance_have_none():
    values = np.outer([1.0, 2, 3, 4], [5.0, 1, 2, 7])
    assert np.abs(svd.ppmi(svd.Matrix(values), 1, 1).toarray()).max() < 1e-12


@pytest.mark.parametrize(
    ("weighting", "function"),
    [("raw", np.array), ("sqrt", np.sqrt), ("log", lambda x: np.log(1 + x))],
)
def test_other_weightings_are_functions_of_the_count(weighting, function):
    values = counts()
    found = svd.weighted(svd.Matrix(values), weighting, 1, 0.75)
    np.testing.assert_allclose(found.toarray(), function(values), atol=1e-12)


def test_the_factors_are_those_of_a_dense_matrix():
    matrix = counts(40)
    u, sizes, v = svd.factorise(svd.Matrix(matrix), 7, seed=1)
    dense_u, dense_sizes, dense_v = np.linalg.svd(matrix)
    np.testing.assert_allclose(sizes, dense_sizes[:7], rtol=1e-10)
    # The best matrix of rank 7 (Eckart and Young 1936).
    best = (dense_u[:, :7] * dense_sizes[:7]) @ dense_v[:7]
    np.testing.assert_allclose((u * sizes) @ v, best, atol=1e-8)
    error = np.linalg.norm(matrix - (u * sizes) @ v)
    np.testing.assert_allclose(error, np.sqrt((dense_sizes[7:] ** 2).sum()))
    assert (u[np.abs(u).argmax(0), np.arange(7)] > 0).all()


def test_words_are_as_alike_as_their_rows():
    # With p = 1 vectors have the products of the matrix's rows, of the rank kept.
    matrix = svd.ppmi(svd.Matrix(counts(40)))
    u, sizes, _ = svd.factorise(matrix, 39, seed=1)
    vectors = svd.vectors(u, sizes, 1.0).astype(float)
    rows = matrix.toarray()
    np.testing.assert_allclose(vectors @ vectors.T, rows @ rows.T, atol=0.05)
    np.testing.assert_allclose(svd.vectors(u, sizes, 0.0), u, atol=1e-6)
    halves = svd.vectors(u, sizes, 0.5).astype(float)
    np.testing.assert_allclose(halves**2, u**2 * sizes, atol=1e-5)


def test_a_vector_has_fewer_values_than_there_are_words():
    with pytest.raises(UserError, match="--vector_size=9; wanted fewer than the vocab"):
        svd.factorise(svd.Matrix(counts()), 9, seed=1)


def test_too_long_vectors_are_refused_before_pairs_are_counted(tmp_path):
    with pytest.raises(UserError, match="--vector_size=489; wanted fewer than"):
        run(tmp_path, "--vector_size=489")
    assert not (tmp_path / "cooccurrences.bin").exists()


def test_records_of_any_order_make_the_matrix(tmp_path):
    values = counts()
    word, context = np.nonzero(values)
    records = np.empty(len(word), cooccurrences.RECORD)
    records["word1"], records["word2"] = word + 1, context + 1
    records["value"] = values[word, context]
    path = tmp_path / "counts.bin"
    np.random.default_rng(1).permutation(records).tofile(path)
    np.testing.assert_array_equal(read_matrix(str(path), 9).toarray(), values)


def run(folder, *flags):
    scripts.run(
        "run_word_vectors",
        "--model_type=svd",
        f"--train_file={GOLDEN}/corpus.txt",
        f"--output_dir={folder}",
        "--vector_size=5",
        *flags,
    )
    return (folder / "vectors.txt").read_bytes()


def test_the_script_writes_the_same_bytes_always(tmp_path):
    text = run(tmp_path / "a")
    assert text.startswith(b"489 5\nthe ")
    assert run(tmp_path / "b", "--threads=2", "--memory=0.001") == text
    assert run(tmp_path / "c", "--p=1") != text
    assert run(tmp_path / "d", "--weighting=log") != text


def test_a_folder_of_other_counts_is_counted_anew(tmp_path, monkeypatch):
    text = run(tmp_path / "a")
    factorise = svd.factorise
    monkeypatch.setattr(svd, "factorise", None)  # ends after it has counted
    with pytest.raises(TypeError):
        run(tmp_path / "b", "--window=4")
    monkeypatch.setattr(svd, "factorise", factorise)
    counts = (tmp_path / "b/cooccurrences.bin").read_bytes()
    assert run(tmp_path / "b") == text
    assert (tmp_path / "b/cooccurrences.bin").read_bytes() != counts


def test_a_finished_folder_is_of_its_flags_alone(tmp_path, monkeypatch):
    text = run(tmp_path)
    for flag in ("--weighting=log", "--seed=1", "--vector_size=6"):
        with pytest.raises(UserError, match=f"(?s)another training.*{flag[2:5]}"):
            run(tmp_path, flag)
    with pytest.raises(UserError, match="(?s)another training.*model_type"):
        run(tmp_path, "--model_type=glove")
    assert (tmp_path / "vectors.txt").read_bytes() == text
    monkeypatch.setattr(svd, "factorise", None)  # it was done
    assert run(tmp_path, "--memory=0.001") == text
    halves, ones = (
        np.array([line.split()[1:] for line in found.splitlines()[1:]], float)
        for found in (text, run(tmp_path, "--p=1"))
    )
    sizes = np.linalg.norm(halves, axis=0) ** 2
    np.testing.assert_allclose(ones, halves * np.sqrt(sizes), atol=1e-5 * sizes[0])


@pytest.mark.parametrize("name", ["vocab.txt", "vectors.txt"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("the 1\n")
    with pytest.raises(UserError, match=f"holds {name}, which is not of a training"):
        run(tmp_path)
    assert (tmp_path / name).read_text() == "the 1\n"


def test_flags_of_another_weighting_are_refused():
    (problem,) = Svd(shift=0.0).problems()
    assert "--shift=0: wanted a positive number" in problem
    (problem,) = Svd(weighting="log", shift=5.0).problems()
    assert "not of --weighting=log" in problem
    assert not list(Svd(shift=5.0).problems())
