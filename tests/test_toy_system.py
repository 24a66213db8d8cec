"""A system that is registered here alone goes through every script."""

import json
import sys

import documentation
import numpy as np
import pytest
import scripts
import tiny
import tiny_squad
import tiny_tagging

import registry
import word2bert
from checkpoints import word_vectors
from errors import UserError
from inference import serving
from registry import Entry

pytestmark = pytest.mark.long

TOY = Entry(
    "toy",
    config="toy_system:ToyConfig",
    system="toy_system:ToySystem",
    files="toy_system:FILES",
    reads=frozenset({"pooling", "long", "mask_cls_sep"}),
    classifies="toy_system:ToyClassification",
    answers="toy_system:ToyAnswers",
    tags="toy_system:ToyTagging",
    extracts="toy_system:ToyLines",
    generates="toy_system:ToyGeneration",
    learns="data_pipeline.corpora.learners:WholeWords",
    makes_records="data_pipeline.corpora.makers:Sentences",
    pretrains="toy_system:ToyPretraining",
    formats=("toy_system:FORMAT",),
)
QUOTED = ("tests/toy_system.py", "tests/test_toy_system.py")
TRAINING = ("--do_train", "--train_batch_size=8", "--learning_rate=3e-2")


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The entry is there while these tests run."""
    registry.register(TOY)
    yield
    del registry._ENTRIES["toy"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder that the scripts' commands made: text, vocabulary, records, model."""
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 30, 300)
    lines = [" ".join(f"word{(i + k) % 30}" for k in range(6)) for i in starts]
    lines += ["good bad good. Word7"] * 5
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    scripts.run(
        "create_vocab",
        "--model_type=toy",
        f"--input_file={folder}/text.txt",
        f"--output_file={folder}/vocab.txt",
    )
    scripts.run(
        "create_pretraining_data",
        "--model_type=toy",
        f"--input_file={folder}/text.txt",
        f"--vocab_file={folder}/vocab.txt",
        f"--output_file={folder}/records",
        "--num_workers=1",
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "toy"}))
    scripts.run(
        "run_pretraining",
        f"--config_file={folder}/config.json",
        f"--vocab_file={folder}/vocab.txt",
        f"--input_file={folder}/records",
        f"--output_dir={folder}/model",
        *TRAINING,
        "--do_eval",
        "--num_train_steps=100",
        "--num_warmup_steps=0",
    )
    return folder


@pytest.mark.whole_steps
def test_what_it_learns_is_in_a_folder_that_it_generates_from(pretrained, monkeypatch):
    assert tiny.read_results(pretrained / "model/eval_results.txt")["perplexity"] < 4
    output = pretrained / "texts.jsonl"
    flags = [f"--init_checkpoint={pretrained}/model", f"--output_file={output}"]
    flags += ["--prompt=word3 word4", "--temperature=0", "--max_new_tokens=2"]
    scripts.forget_flags()
    monkeypatch.setattr(sys, "argv", ["word2bert", "generate", *flags])
    with pytest.raises(SystemExit) as ending:
        word2bert.main()
    assert not ending.value.code
    assert json.loads(output.read_text())["text"] == "word5 word6"


@pytest.mark.whole_steps
def test_it_classifies_here_and_from_its_export(pretrained, tmp_path):
    data = tiny.write_data(tmp_path / "data")
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        f"--data_dir={data}",
        f"--init_checkpoint={pretrained}/model",
        f"--output_dir={tmp_path}/out",
        "--max_seq_length=24",
        "--num_train_epochs=10",
        *TRAINING,
        "--do_eval",
        "--do_predict",
    )
    results = tiny.read_results(tmp_path / "out/eval_results.txt")
    assert results["eval_accuracy"] > 0.9
    export(tmp_path)
    served = serving.load(f"{tmp_path}/export")
    texts = [example.text_a for example in tiny.examples(11, 2)]
    found = np.loadtxt(tmp_path / "out/test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(served.predict(texts)["probabilities"], found, atol=1e-5)


def export(folder):
    scripts.run(
        "export_saved_model",
        f"--model_dir={folder}/out",
        f"--export_dir={folder}/export",
    )


def test_it_tags_here_and_from_its_export(pretrained, tmp_path):
    kept = ("--train", "--dev", "--test", "--output", "--tag", "--max")
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    scripts.run(
        "run_tagger",
        *(flag for flag in flags if flag.startswith(kept)),
        f"--init_checkpoint={pretrained}/model",
        *TRAINING,
        "--do_eval",
        "--do_predict",
    )
    assert tiny.read_results(tmp_path / "out/eval_results.txt")["eval_f1"] > 0.9
    export(tmp_path)
    sentences = [words for words, _ in tiny_tagging.sentences(9, 2)]
    tags = serving.load(f"{tmp_path}/export").predict(sentences)["tags"]
    lines = (tmp_path / "out/test_predictions.txt").read_text().splitlines()
    assert sum(tags, []) == [line.split()[-1] for line in lines if line]


def test_it_answers_here_and_from_its_export(pretrained, tmp_path):
    scripts.run(
        "run_squad",
        *tiny_squad.write(tmp_path),
        f"--init_checkpoint={pretrained}/model",
        f"--output_dir={tmp_path}/out",
        "--max_seq_length=24",
        "--doc_stride=6",
        "--max_query_length=4",
        "--num_train_epochs=10",
        *TRAINING,
        "--do_predict",
    )
    answers = json.loads((tmp_path / "out/predictions.json").read_text())
    assert list(answers.values()).count("good.") > 0.9 * len(answers)
    export(tmp_path)
    paragraphs = tiny_squad.questions(17, 1)[0]["paragraphs"]
    asked = [("word7 good", paragraph["context"]) for paragraph in paragraphs]
    served = serving.load(f"{tmp_path}/export").predict(asked)
    assert served["answers"].tolist() == list(answers.values())


def test_its_vectors_are_written_by_two_scripts(pretrained, tmp_path):
    (tmp_path / "lines.txt").write_text("word1 word2\nword2\n")
    scripts.run(
        "extract_features",
        f"--input_file={tmp_path}/lines.txt",
        f"--output_file={tmp_path}/vectors.npy",
        f"--init_checkpoint={pretrained}/model",
        "--pooling=mean",
        "--mask_cls_sep",
    )
    scripts.run(
        "convert_checkpoint",
        f"--input_checkpoint={pretrained}/model",
        f"--output_path={tmp_path}/converted",
        "--output_format=toy_vectors",
    )
    words, table = word_vectors.read(f"{tmp_path}/converted/vectors.txt")
    rows = {word: table[words.index(word)] for word in ("<S>", "word1", "word2")}
    start, one, two = rows.values()
    found = np.load(tmp_path / "vectors.npy").reshape(2, -1)
    assert found[1] == pytest.approx(two + (start + two) / 2, abs=1e-4)
    of_one = one + (start + one) / 2
    of_two = two + (start + one + two) / 3
    assert found[0] == pytest.approx((of_one + of_two) / 2, abs=1e-4)


@pytest.mark.parametrize("ability", sorted({*registry.ABILITIES} - {"shares"}))
def test_who_lacks_an_ability_is_refused_and_the_toy_is_named(ability, monkeypatch):
    mute = Entry("mute", config="", system="", files="")
    monkeypatch.setitem(registry._ENTRIES, "mute", mute)
    verb, script = registry.ABILITIES[ability]
    with pytest.raises(UserError, match=f"^mute does not {verb}: {script} takes .*toy"):
        registry.need("mute", ability)


def test_the_page_about_it_quotes_it():
    page = (tiny.ROOT / "docs/adding_a_system.md").read_text()
    sources = [(tiny.ROOT / path).read_text() for path in QUOTED]
    quoted = documentation.blocks(page, "python")
    assert len(quoted) > 9
    for block in quoted:
        assert any(block in source for source in sources), block
