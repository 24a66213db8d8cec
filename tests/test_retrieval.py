"""Translations found by their vectors: hand-made vectors, and files that do not fit."""

import numpy as np
import pytest
import scripts


@pytest.fixture
def run(tmp_path, capsys):
    def run(first, second, layers=1):
        for name, rows in (("first", first), ("second", second)):
            np.save(tmp_path / f"{name}.npy", np.array(rows, np.float32))
        files = (f"--{name}={tmp_path}/{name}.npy" for name in ("first", "second"))
        scripts.run("benchmarks.retrieval", *files, f"--num_layers={layers}")
        return capsys.readouterr().out.splitlines()

    return run


def test_the_nearest_by_cosine_is_counted_in_both_directions(run):
    first = [[9, 0], [0, 1], [1, 0.1]]
    second = [[1, 0], [1, 2], [0.1, 1]]
    # Nearest in second: 0, 2 (not 1), 0 (not 2). In first: 0, 1, 1 (not 2).
    assert run(first, second)[0] == "layer_0 = 0.333 0.667"


def test_centred_vectors_forget_the_language_and_layers_are_scored_alone(run):
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(7, 3))
    first = np.concatenate([meaning + 50, meaning], 1)
    second = np.concatenate([meaning - 50, meaning], 1)
    found = dict(line.split(" = ") for line in run(first, second, 2))
    assert found["layer_0"] != "1.000 1.000"
    assert found["layer_0_centred"] == found["layer_1"] == "1.000 1.000"


def test_files_that_do_not_belong_together_are_named(run):
    with pytest.raises(ValueError, match="--first has 2 lines of width 3, --second 1"):
        run([[1, 2, 3]] * 2, [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"--first=.*got shape \(1, 3\), wanted .*=2"):
        run([[1, 2, 3]], [[1, 2, 3]], 2)
