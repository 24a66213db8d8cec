"""No script writes over what it reads: refused before anything is opened."""

import pytest
import scripts

from errors import UserError

# Script -> flags, of which the last names an output that is an input, or in one.
CASES = {
    "create_pretraining_data": [
        ["--input_file=a", "--vocab_file=v", "--output_file=a"],
        ["--input_file=a", "--vocab_file=v", "--output_file=./v"],
        ["--input_file=a,v", "--vocab_file=w", "--output_file=n,link"],
        ["--input_file=*", "--vocab_file=v", "--output_file=a"],
        ["--input_file=a", "--vocab_file=v", "--output_file=n,./n"],
        [
            *("--model_type=gpt", "--input_file=a", "--vocab_file=m/vocab.json"),
            "--output_file=m/merges.txt",
        ],
    ],
    "create_vocab": [
        ["--input_file=a", "--output_file=a"],
        ["--input_file=a,v", "--output_file=link"],
        ["--model_type=gpt", "--input_file=merges.txt", "--output_file=vocab.json"],
    ],
    "extract_features": [
        ["--input_file=a", "--init_checkpoint=m", "--output_file=link"],
        ["--input_file=a", "--init_checkpoint=m", "--output_file=m/vectors.npy"],
        ["--input_file=a", "--init_checkpoint=m/c", "--output_file=m/c.index"],
        [
            *("--input_file=a", "--init_checkpoint=m/c", "--vocab_file=v"),
            "--output_file=v",
        ],
    ],
    "generate": [
        ["--input_file=a", "--init_checkpoint=m", "--output_file=a"],
        ["--prompt=a", "--init_checkpoint=m", "--output_file=m/new"],
    ],
    "convert_checkpoint": [
        ["--input_checkpoint=m", "--output_format=huggingface", "--output_path=m"],
        ["--input_checkpoint=m", "--output_format=bilm", "--output_path=m/new"],
    ],
    "export_saved_model": [
        ["--model_dir=m", "--export_dir=m/"],
        ["--model_dir=m", "--export_dir=m/export/1"],
    ],
    "run_tagger": [
        ["--do_predict", "--test_file=o/test_predictions.txt", "--output_dir=o"],
    ],
    "run_squad": [
        ["--do_predict", "--predict_file=o/predictions.json", "--output_dir=./o"],
    ],
}


@pytest.mark.parametrize(
    ("script", "arguments"),
    [(script, arguments) for script, found in CASES.items() for arguments in found],
)
def test_an_output_that_is_an_input_is_refused(
    tmp_path, monkeypatch, script, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "o").mkdir()
    names = ["a", "v", "w", "merges.txt", "m/c.index", "m/vocab.json", "m/merges.txt"]
    for name in [*names, "o/test_predictions.txt", "o/predictions.json"]:
        (tmp_path / name).write_bytes(b"\xffnothing that could be opened")
    (tmp_path / "link").symlink_to("a")
    before = sorted(tmp_path.rglob("*"))
    flag = arguments[-1].partition("=")[0]
    with pytest.raises(UserError, match=f"{flag}: .*(read|written twice)"):
        scripts.run(script, *arguments)
    assert sorted(tmp_path.rglob("*")) == before
    for name in names:
        assert (tmp_path / name).read_bytes() == b"\xffnothing that could be opened"


@pytest.mark.parametrize(
    ("init", "refused"),
    [
        ("out", True),
        ("out/model.ckpt-3", True),
        ("out/best/model.ckpt-3", True),
        ("out/bert", False),
        ("out2", False),
    ],
)
def test_a_training_does_not_write_over_the_model_it_starts_from(
    tmp_path, monkeypatch, init, refused
):
    monkeypatch.chdir(tmp_path)
    for name in ("out/best", "out/bert", "out2"):
        (tmp_path / name).mkdir(parents=True)
    flags = ["--do_train", f"--init_checkpoint={init}", "--output_dir=./out"]
    flags += ["--train_file=t", "--tag_scheme=BIO"]
    match = "lies in --output_dir" if refused else "t: no such file|no such|wanted"
    with pytest.raises(UserError, match=match):
        scripts.run("run_tagger", *flags)
    assert sorted(tmp_path.rglob("*")) == sorted(
        tmp_path / name for name in ("out", "out2", "out/best", "out/bert")
    )
