"""word2bert.load: the numbers of the scripts, in a few lines; what is not there."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scripts
import tiny
import tiny_folders
import tiny_squad
import tiny_tagging

import registry
import word2bert
from errors import UserError
from inference import serving
from modeling.layers import pooling

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests/golden/word_evaluation/vectors.txt"
TEXTS = [e.text_a for e in tiny.examples(7, seed=3)]
EXTRACT = sorted(registry.model_types("extracts"))
CLASSIFY = sorted(registry.model_types("classifies"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Returns a function from a system's name to the folder of its tiny encoder."""
    made = {}

    def folder(model_type):
        if model_type not in made:
            place = tmp_path_factory.mktemp(model_type)
            made[model_type] = tiny_folders.encoder(model_type, place)
        return made[model_type]

    return folder


def opened(folder):
    """Opens a folder; XLM's texts are told to be English."""
    is_xlm = pathlib.Path(folder).name == "xlm"
    return word2bert.load(folder, **({"language": "en"} if is_xlm else {}))


def extracted(folder, tmp_path, texts, *flags, name="vectors.npy"):
    """What extract_features.py writes; returns the file's path."""
    (tmp_path / "text.txt").write_text("".join(f"{text}\n" for text in texts))
    language = ["--language=en"] if pathlib.Path(folder).name == "xlm" else []
    scripts.run(
        "extract_features",
        f"--input_file={tmp_path / 'text.txt'}",
        f"--output_file={tmp_path / name}",
        f"--init_checkpoint={folder}",
        *(*language, "--max_seq_length=40"),
        *flags,
    )
    return tmp_path / name


def test_to_import_it_loads_no_tensorflow():
    code = (
        "import sys, word2bert\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
        "assert sys.excepthook is sys.__excepthook__"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("strategy", pooling.STRATEGIES[1:])
def test_vectors_are_those_of_the_script_by_every_pooling(folders, tmp_path, strategy):
    path = extracted(folders("bert"), tmp_path, TEXTS, f"--pooling={strategy}")
    found = opened(folders("bert")).encode(TEXTS, strategy)
    np.testing.assert_allclose(found, np.load(path), atol=1e-5)


@pytest.mark.parametrize("model_type", EXTRACT)
def test_every_system_gives_the_scripts_vectors(folders, tmp_path, model_type):
    folder = folders(model_type)
    model = opened(folder)
    assert model.model_type == model_type
    found = model.encode(TEXTS)
    for i in (0, 3):
        np.testing.assert_allclose(model.encode(TEXTS[i]), found[i], atol=1e-5)
    assert model.encode([]).shape == (0, found.shape[1])
    if "pooling" in registry.find(model_type).reads:
        path = extracted(folder, tmp_path, TEXTS, "--pooling=mean", "--normalize")
        normal = model.encode(TEXTS, normalize=True)
        np.testing.assert_allclose(normal, np.load(path), atol=1e-5)
    cosines = model.similarity(TEXTS, TEXTS[0])
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, unit @ unit[0], atol=1e-5)
    one = model.similarity(TEXTS[1], TEXTS[0])
    assert one == pytest.approx(float(cosines[1]), abs=1e-5)


@pytest.mark.parametrize("model_type", EXTRACT)
def test_a_words_vector_is_its_own_or_the_mean_of_its_pieces(folders, model_type):
    model = opened(folders(model_type))
    sentences = [["good", "word25", "bad"], ["word3"], []]
    found = model.encode_words(sentences)
    assert [len(rows) for rows in found] == [3, 1, 0]
    np.testing.assert_allclose(model.encode_words(["word3"]), found[1], atol=1e-5)
    source = model.system.need("extracts")
    if source.units == "words":
        return
    (line,) = source.lines([" ".join(sentences[0])], 40, False)
    layers = model.encode_words(sentences, layers=[0, -1])[0]
    assert layers.shape[1] == 2 or layers.shape[1] > found[0].shape[1]
    pieces = model.encode(" ".join(sentences[0]), "mean", mask_cls_sep=True)
    ((_, sizes),) = source.cut(sentences[:1])
    assert sizes.sum() == line.content.sum()
    mean = (found[0] * sizes[:, None]).sum(0) / sizes.sum()
    np.testing.assert_allclose(mean, pieces, atol=1e-5)


def test_elmos_words_have_all_layers_as_the_script_writes_them(folders, tmp_path):
    import h5py

    lines = [text for text in TEXTS if text]
    path = extracted(folders("elmo"), tmp_path, lines, name="vectors.hdf5")
    found = opened(folders("elmo")).encode_words([line.split() for line in lines])
    with h5py.File(path) as file:
        for i, rows in enumerate(found):  # bilm-tf's have the layers first
            wanted = file[str(i)][...].transpose(1, 0, 2)
            np.testing.assert_allclose(rows, wanted, atol=1e-5)


def test_weights_of_words_are_counted_in_the_texts(folders, tmp_path):
    flags = ("--pooling=mean", "--word_weighting=sif")
    path = extracted(folders("vectors"), tmp_path, TEXTS, *flags)
    model = opened(folders("vectors"))
    found = model.encode(TEXTS, word_weighting="sif")
    np.testing.assert_allclose(found, np.load(path), atol=1e-5)
    assert not np.allclose(model.encode(TEXTS), found)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.encode("good", batch_size=0), "batch_size=0; wanted a whole"),
        (lambda m: m.encode("good", layers=[]), "layers=\\(\\); wanted whole numbers"),
        (lambda m: m.encode("good", layers="x"), "layers=\\('x',\\); wanted whole"),
        (
            lambda m: m.encode("good", mixed_precision="zz"),
            "wanted one of off, bfloat16",
        ),
        (lambda m: m.encode("good", word_weighting="sif"), "only word vectors are"),
        (lambda m: m.nearest("good", topn=-1), "topn=-1; wanted a whole number"),
        (lambda m: m.nearest(["good"]), "got .'good'.; wanted a word"),
    ],
)
def test_impossible_options_name_themselves(folders, ask, message):
    with pytest.raises(UserError, match=message):
        ask(opened(folders("bert")))


def test_pairs_are_read_as_pairs_and_a_separator_in_a_text_is_text(folders, tmp_path):
    lines = ["good word1 ||| bad", "good"]
    path = extracted(folders("bert"), tmp_path, lines, "--pooling=mean")
    model = opened(folders("bert"))
    found = model.encode([("good word1", "bad"), "good"])
    np.testing.assert_allclose(found, np.load(path), atol=1e-5)
    np.testing.assert_allclose(model.encode(("good word1", "bad")), found[0], atol=1e-5)
    assert not np.allclose(model.encode("good word1 ||| bad"), found[0], atol=1e-3)


@pytest.mark.parametrize("model_type", CLASSIFY)
def test_a_trained_classifier_says_what_the_script_writes(model_type, tmp_path):
    folder = tiny_folders.classifier(model_type, tmp_path)
    data = tiny.write_data(tmp_path / "data", test=9)
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        *(f"--data_dir={data}", f"--init_checkpoint={folder}", "--do_predict"),
        f"--output_dir={tmp_path / 'out'}",
    )
    wanted = np.loadtxt(tmp_path / "out/test_results.tsv")
    model = word2bert.load(folder)
    assert "classify" in model.can
    texts = [e.text_a for e in tiny.examples(9, seed=2)]
    found = model.classify(texts, batch_size=4)
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    names = np.array(tiny_folders.LABELS)
    assert found["labels"].tolist() == names[wanted.argmax(1)].tolist()
    assert found["label_names"].tolist() == [list(names)] * 9
    one = model.classify(texts[2])
    assert one["labels"] == found["labels"][2]
    np.testing.assert_allclose(one["probabilities"], wanted[2], atol=1e-5)
    none = model.classify([])
    assert {name: value.shape for name, value in none.items()} == {
        "labels": (0,),
        "label_names": (0, 2),
        "probabilities": (0, 2),
    }


def test_a_classifier_of_pairs_takes_tuples_and_nothing_else(tmp_path):
    changes = {"text_pair": True, "labels": (), "output_kind": "regression"}
    changes |= {"metrics": ("pearson",), "main_metric": "pearson"}
    model = word2bert.load(tiny_folders.classifier("bert", tmp_path, **changes))
    found = model.classify([("good", "bad"), ("bad", "word1")])["scores"]
    assert found.shape == (2,)
    assert model.classify(("good", "bad"))["scores"] == pytest.approx(found[0])
    with pytest.raises(UserError, match="text 0: got 'good', .* 2 texts together"):
        model.classify(["good"])


@pytest.mark.parametrize("model_type", ["bert", "taglm", "vectors"])
def test_a_trained_tagger_tags_as_the_script(model_type, tmp_path):
    folder = tiny_folders.tagger(model_type, tmp_path)
    sentences = tiny_tagging.sentences(6, seed=4)
    (tmp_path / "test.txt").write_text(tiny_tagging.columns(sentences))
    scripts.run(
        "run_tagger",
        f"--test_file={tmp_path / 'test.txt'}",
        f"--init_checkpoint={folder}",
        *("--do_predict", f"--output_dir={tmp_path / 'out'}"),
    )
    lines = (tmp_path / "out/test_predictions.txt").read_text().splitlines()
    wanted = [line.split()[-1] for line in lines if line]
    model = word2bert.load(folder)
    words = [words for words, _ in sentences]
    found = model.tag(words)
    assert [len(tags) for tags in found] == [len(w) for w in words]
    assert [tag for tags in found for tag in tags] == wanted
    assert model.tag(words[1]) == found[1]
    assert model.tag([]) == []
    for wrong in (["Ada met IBM"], "Ada met IBM", [["Ada", ""]]):
        with pytest.raises(UserError, match=r"sentence 0: got .*text.split\(\)"):
            model.tag(wrong)


def test_a_trained_reader_answers_as_the_script(tmp_path):
    tiny_squad.flags(tmp_path, tmp_path / "unused", train=1, dev=5)
    folder = tiny_folders.reader(tmp_path)
    path = tmp_path / "dev.json"
    scripts.run(
        "run_squad",
        *(f"--predict_file={path}", f"--init_checkpoint={folder}", "--do_predict"),
        f"--output_dir={tmp_path / 'out'}",
    )
    wanted = json.loads((tmp_path / "out/predictions.json").read_text())
    paragraphs = json.loads(path.read_text())["data"][0]["paragraphs"]
    contexts = [paragraph["context"] for paragraph in paragraphs]
    model = word2bert.load(folder)
    found = model.answer(["word7 good"] * len(contexts), contexts)
    assert found["answers"].tolist() == list(wanted.values())
    one = model.answer("word7 good", contexts[1])
    assert one["answers"] == found["answers"][1]
    assert one["scores"] == pytest.approx(found["scores"][1], abs=1e-5)
    several = model.answer(["word7 good", "word1"], contexts[1])
    assert several["answers"][0] == found["answers"][1]
    assert {k: v.shape for k, v in model.answer([], []).items()} == {
        "answers": (0,),
        "scores": (0,),
    }
    with pytest.raises(UserError, match="got 1 questions and 2 contexts"):
        model.answer(["word1"], contexts[:2])


@pytest.mark.parametrize("model_type", ["gpt", "ulmfit"])
def test_texts_go_on_as_in_the_script(folders, tmp_path, model_type):
    prompts = ["good word1", "bad"]
    flags = {"max_new_tokens": 7, "temperature": 0.7, "seed": 5}
    scripts.run(
        "generate",
        f"--init_checkpoint={folders(model_type)}",
        *(f"--prompt={prompt}" for prompt in prompts),
        *(f"--{name}={value}" for name, value in flags.items()),
        f"--output_file={tmp_path / 'out.jsonl'}",
    )
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    model = opened(folders(model_type))
    found = model.generate(prompts, **flags)
    assert found == [json.loads(line)["text"] for line in lines]
    assert model.generate(prompts[0], **flags) == found[0]
    assert model.generate([]) == []


def test_words_near_a_word_are_those_of_the_script(tmp_path):
    word = VECTORS.read_text().splitlines()[5].split()[0]
    scripts.run(
        "evaluate_word_vectors",
        *(f"--vectors={VECTORS}", f"--nearest={word}", "--topn=4"),
        f"--output_dir={tmp_path}",
    )
    wanted = json.loads((tmp_path / "eval_results.json").read_text())["nearest"][word]
    model = word2bert.load(VECTORS)
    assert model.can == ("encode", "encode_words", "similarity", "nearest")
    assert dict(model.nearest(word, 4)) == wanted
    other, cosine = model.nearest(word, 1)[0]
    assert model.similarity(word, other) == pytest.approx(cosine, abs=1e-6)
    with pytest.raises(UserError, match=f"no word '{word}s', near it {word}"):
        model.nearest(f"{word}s")


def test_a_models_own_table_has_what_is_near(folders):
    model = opened(folders("vectors"))
    words = [word for word, _ in model.nearest("good", 40)]
    assert sorted([*words, "good"]) == sorted(model.system.entries())
    assert opened(folders("nnlm")).can == ("nearest",)
    assert len(opened(folders("bert")).nearest("good", 3)) == 3


def test_what_it_cannot_do_is_refused_in_one_line_that_says_what_it_can(folders):
    model = opened(folders("bert"))
    refused = {
        "generate": ("good",),
        "classify": ("good",),
        "tag": (["good"],),
        "answer": ("good", "bad"),
    }
    for method, arguments in refused.items():
        assert method not in model.can
        with pytest.raises(UserError) as error:
            getattr(model, method)(*arguments)
        assert str(error.value).endswith(
            "it can encode, encode_words, similarity, nearest"
        )
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="taglm does not give features: extract_fea"):
        opened(folders("taglm")).encode("good")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.encode("good", pooling="none"), "encode_words"),
        (lambda m: m.encode("good", pooling="mode"), "unknown pooling 'mode'"),
        (lambda m: m.encode("good", layers=7), "has 7, but the model has 1 layers"),
        (lambda m: m.encode(["good", 3]), "text 1: got 3; wanted a text, or a pair"),
        (lambda m: m.encode_words("good bad"), r"sentence 0: got \['good bad'\]"),
        (lambda m: m.encode_words(["good"] * 50), "sentence 0 has 50 units, of which"),
        (lambda m: m.nearest("gooood"), "no word 'gooood', near it good"),
    ],
)
def test_what_cannot_be_read_is_told(folders, ask, message):
    with pytest.raises(UserError, match=message):
        ask(opened(folders("bert")))


def test_options_are_refused_where_nothing_reads_them(folders, tmp_path):
    with pytest.raises(UserError, match="language='en' is not for bert"):
        word2bert.load(folders("bert"), language="en")
    with pytest.raises(UserError, match="no such file"):
        word2bert.load(tmp_path / "nothing")
    (tmp_path / "export").mkdir()
    (tmp_path / "export/saved_model.pb").touch()
    with pytest.raises(UserError, match="export is an export: wanted the folder"):
        word2bert.load(tmp_path / "export")
    few = word2bert.load(VECTORS, max_vocab=9)
    assert len(few.system.entries()) <= 12


@pytest.mark.parametrize("model_type", sorted({*CLASSIFY} & {*EXTRACT}))
@pytest.mark.parametrize("first", ["encode", "classify"])
def test_one_encoder_is_in_memory_for_all_methods(model_type, first, tmp_path):
    folder = tiny_folders.classifier(model_type, tmp_path)
    alone, other, model = (word2bert.load(folder) for _ in range(3))
    wanted = alone.encode(TEXTS)
    labels = other.classify(TEXTS)["probabilities"]
    getattr(model, first)(TEXTS)
    np.testing.assert_array_equal(model.encode(TEXTS), wanted)
    np.testing.assert_array_equal(model.classify(TEXTS)["probabilities"], labels)
    (extractor,) = model._extractors.values()
    encoder, task = extractor.variables, model._trained.variables
    assert encoder
    assert all(task[name] is variable for name, variable in encoder.items())


def test_nothing_is_loaded_before_it_is_used(tmp_path, monkeypatch):
    folder = tiny_folders.classifier("bert", tmp_path)
    reads = []
    read = serving.read_task
    monkeypatch.setattr(
        "inference.trained.read_task", lambda *a: reads.append(a) or read(*a)
    )
    model = word2bert.load(folder)
    assert "classify" in model.can
    model.encode("good")
    assert not reads
    model.classify("good")
    model.classify("bad")
    assert len(reads) == 1
