"""Good inputs of every reader, small: what fuzz_inputs.py breaks, one file at a time.

A subject is a folder, a file in it that a script reads, and the script's flags.
"""

import dataclasses
import json
import pathlib
import pickle
import shutil
from collections.abc import Callable

import numpy as np
import safetensors.numpy
import scripts
import tiny
import tiny_corpus
import tiny_elmo
import tiny_gpt
import tiny_pretraining
import tiny_squad
import tiny_streams
import tiny_tagging
import tiny_taglm
import tiny_ulmfit
import torch_writer

import checkpoints
import modeling
import tokenization_ulmfit
from checkpoints import google_bert, ulmfit
from modeling import BertModel, GptModel

Folder = pathlib.Path
TORCH = Folder(__file__).resolve().parent / "golden/torch"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A script that reads a file.

    Attributes:
      reader: what is read, for the table.
      folder: the folder's name in the world; a copy is broken.
      file: in the folder; a pattern of one file.
      script: what reads it.
      flags: from the copy to the script's flags.
      output: in the folder, a file or folder that tells whether results changed.
      beside: a file that a message may name instead: the two do not belong together.
    """

    reader: str
    folder: str
    file: str
    script: str
    flags: Callable[[Folder], list[str]]
    output: str
    beside: tuple[str, ...] = ()

    def run(self, folder: Folder) -> None:
        """Runs the script on a copy of the folder."""
        scripts.run(self.script, *self.flags(folder))


def random_tensors(model) -> dict[str, np.ndarray]:
    """The variables of a model that was not trained."""
    return {k: v.numpy() for k, v in modeling.named_variables(model).items()}


def convert(source: Folder, target: Folder, form: str) -> None:
    """Writes a model in another format."""
    checkpoints.save_as(checkpoints.open_checkpoint(str(source)), str(target), form)


def make_berts(world: Folder) -> None:
    """Google's folder, Hugging Face's, and the latter in two parts."""
    (made := world / "files").mkdir()
    vocab, _ = tiny.write_model(made)
    tensors = random_tensors(BertModel(tiny.CONFIG, seed=5))
    google_bert.save_folder(str(world / "google"), tensors, tiny.CONFIG, vocab, True)
    convert(world / "google", world / "huggingface", "huggingface")
    shutil.copytree(world / "huggingface", world / "sharded")
    weights = world / "sharded/model.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    weights.unlink()
    parts = {}
    for i, name in enumerate(sorted(tensors)):
        parts.setdefault(f"model-0000{1 + i % 2}-of-00002.safetensors", []).append(name)
    for part, names in parts.items():
        safetensors.numpy.save_file(
            {name: tensors[name] for name in names}, world / "sharded" / part
        )
    weight_map = {name: part for part, names in parts.items() for name in names}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    path = world / "sharded/model.safetensors.index.json"
    path.write_text(json.dumps(index))
    shutil.copytree(world / "huggingface", world / "torch")
    (world / "torch/model.safetensors").unlink()
    torch_writer.write_state(world / "torch/pytorch_model.bin", tensors)
    (world / "google/input.txt").write_text("good word1\nbad ||| word2 xyz\n")


def make_others(world: Folder) -> None:
    """OpenAI's GPT and Hugging Face's; bilm-tf's ELMo."""
    (made := world / "gpt").mkdir()
    tiny_gpt.write_model(made)
    tensors = random_tensors(GptModel(tiny_gpt.CONFIG, seed=3))
    google_bert.save(str(made / "gpt.ckpt"), tensors)
    convert(made, world / "openai", "openai_gpt")
    convert(made, world / "hf_gpt", "huggingface")
    for name in ("gpt", "openai"):
        (world / name / "prompts.txt").write_text("good word1\nbad\n")
    (made := world / "elmo").mkdir()
    tiny_taglm.write_lm(made)
    shutil.copy(tiny_elmo.write_model(made)[0], made / "lm/vocab.txt")
    (made / "input.txt").write_text("the w1 w2\nnever\n")
    shutil.copytree(TORCH / "elmo", world / "manylangs")
    (world / "manylangs/input.txt").write_text("the\tw1\nnever\n")
    (made := world / "ulmfit").mkdir()
    tensors = ulmfit.split(random_tensors(tiny_ulmfit.model(tiny.WORDS)))
    named = {ulmfit.TABLE.target(name).name: x for name, x in tensors.items()}
    torch_writer.write_state(made / "lstm_fwd.pth", named)
    words = [*tokenization_ulmfit.SPECIAL, *tiny.WORDS]
    (made / "itos.pkl").write_bytes(pickle.dumps(words, protocol=2))
    convert(made / "lstm_fwd.pth", world / "fastai", "fastai")
    for name in ("ulmfit", "fastai"):
        (world / name / "input.txt").write_text("word1 Word2\nnever\n")


def make_trained(world: Folder) -> None:
    """What a step of training leaves behind, and its data."""
    (made := world / "classifier").mkdir()
    flags = tiny.classifier_command(made, made / "out", "--num_train_epochs=1")[2:]
    tiny.write_data(made / "data", train=8, dev=5, test=3)
    scripts.run("run_classifier", *flags, "--do_train", "--do_eval")
    shutil.copytree(made, world / "jsonl")
    test = world / "jsonl/data/test.tsv"
    rows = [line.split("\t") for line in test.read_text().splitlines()[1:]]
    lines = [json.dumps(dict(zip(("text", "label"), row, strict=True))) for row in rows]
    test.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    test.unlink()
    shutil.copytree(world / "jsonl", world / "csv")
    (world / "csv/data/test.jsonl").unlink()
    lines = [f'"{text}","{label}"' for text, label in rows]
    (world / "csv/data/test.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    (made := world / "squad").mkdir()
    flags = tiny_squad.flags(made, made / "out", train=8, dev=5)
    scripts.run("run_squad", *flags, "--do_train", "--num_train_epochs=1")
    (made := world / "tagger").mkdir()
    flags = tiny_tagging.flags(made, made / "out", train=8, dev=5, test=3)
    scripts.run("run_tagger", *flags, "--do_train", "--num_train_epochs=1")
    (made := world / "taglm").mkdir()
    flags = tiny_taglm.flags(made, made / "out", train=8, dev=5, test=3)
    words = ["good", "bad", *tiny.WORDS]
    tiny_taglm.write_vectors(made / "vectors.txt", list(dict.fromkeys(words)))
    flags.append(f"--word_vectors={made / 'vectors.txt'}")
    scripts.run("run_tagger", *flags, "--do_train", "--num_train_epochs=1")


def make_records(world: Folder) -> None:
    """Text, and the records that are made from it."""
    (made := world / "text").mkdir()
    tiny_corpus.write_vocab(made)
    tiny_corpus.write_corpus(made / "text.txt", 9)
    (made := world / "pretraining").mkdir()
    tiny.write_model(made)
    tiny_pretraining.write(made / "bert.tfrecord", 40)
    (made := world / "gpt_pretraining").mkdir()
    tiny_streams.write_model(made)
    tiny_streams.write(made / "gpt.tfrecord", 40)
    (made := world / "elmo_pretraining").mkdir()
    tiny_elmo.write_model(made)
    tiny_elmo.write_records(made / "elmo.tfrecord", tiny_elmo.sentences(40))


def build(world: Folder) -> None:
    """Writes everything."""
    make_berts(world)
    make_others(world)
    make_records(world)
    make_trained(world)


def _flags(*switches: str, **paths: str) -> Callable[[Folder], list[str]]:
    """Makes Subject.flags of switches, and of paths inside the folder."""
    return lambda folder: [
        *switches,
        *(f"--{name}={folder / path}" for name, path in paths.items()),
    ]


def _converted(source: str, form: str) -> Callable[[Folder], list[str]]:
    form = f"--output_format={form}"
    return _flags(form, input_checkpoint=source, output_path="../made")


def _vectors(source: str, *more: str) -> Callable[[Folder], list[str]]:
    return _flags(
        *more, init_checkpoint=source, input_file="input.txt", output_file="../made"
    )


_CLASSIFIER = (
    *tiny.COLUMNS,
    *("--max_seq_length=24", "--train_batch_size=8", "--learning_rate=1e-3"),
    "--num_train_epochs=1",
)
_MODEL = {"vocab_file": "vocab.txt", "bert_config_file": "bert_config.json"}
_USED = {"init_checkpoint": "out", "output_dir": "made"}
_PREDICTIONS = {
    "squad": ("predict_file", "dev.json", "predictions.json"),
    "tagger": ("test_file", "test.txt", "test_predictions.txt"),
}
_BERT_RECORDS = ("--max_seq_length=24", "--max_predictions_per_seq=4")


def subjects() -> list[Subject]:
    """Lists what is broken; a reader is there with each of its files."""
    found = []

    def add(reader, folder, files, script, flags, *beside):
        # What reads a model writes no file into its folder.
        made = "../made" if script in (convert, extract, "generate") else "made"
        for file in files:
            found.append(Subject(reader, folder, file, script, flags, made, beside))

    config, index = "bert_config.json", "bert_model.ckpt.index"
    data = "bert_model.ckpt.data-00000-of-00001"
    convert, extract = "convert_checkpoint", "extract_features"
    flags = _converted(".", "huggingface")
    add("bert_config.json", "google", [config], convert, flags)
    add("TensorFlow checkpoint", "google", [index, data], convert, flags)
    add("tokenizer_config.json", "google", ["tokenizer_config.json"], convert, flags)
    flags = _vectors(".", "--pooling=mean", "--max_seq_length=24")
    add("vocab.txt", "google", ["vocab.txt"], extract, flags)
    add("text", "google", ["input.txt"], extract, flags)
    flags = _converted(".", "google_bert")
    add("config.json", "huggingface", ["config.json"], convert, flags)
    add("safetensors", "huggingface", ["model.safetensors"], convert, flags)
    part = "model-00001-of-00002.safetensors"
    add(
        "safetensors index", "sharded", ["model.safetensors.index.json"], convert, flags
    )
    add("safetensors", "sharded", [part], convert, flags)
    shapes, pieces = ["params_shapes.json", "params_3.npy"], "encoder_bpe_40000.json"
    flags = _converted(".", "huggingface")
    add("OpenAI's arrays", "openai", shapes, convert, flags)
    flags = _converted(".", "openai_gpt")
    add("config.json", "hf_gpt", ["config.json"], convert, flags)
    add("safetensors", "hf_gpt", ["model.safetensors"], convert, flags)
    flags = _converted(".", "openai_gpt")
    add("gpt_config.json", "gpt", ["gpt_config.json"], convert, flags)
    flags = _flags(
        *("--max_new_tokens=3", "--temperature=0"),
        **{
            "init_checkpoint": ".",
            "input_file": "prompts.txt",
            "output_file": "../made",
        },
    )
    add("byte pairs", "gpt", ["vocab.json", "merges.txt"], "generate", flags)
    add("text", "gpt", ["prompts.txt"], "generate", flags)
    add("byte pairs", "openai", [pieces, "vocab_40000.bpe"], "generate", flags)
    flags = _vectors("lm")
    add("options.json", "elmo", ["lm/options.json"], extract, flags, "weights.hdf5")
    add("HDF5", "elmo", ["lm/lm_weights.hdf5"], extract, flags)
    add("words", "elmo", ["lm/vocab.txt"], extract, flags)
    flags = _vectors(".")
    add("torch", "manylangs", ["encoder.pkl", "token_embedder.pkl"], extract, flags)
    add("words", "manylangs", ["word.dic", "char.dic"], extract, flags)
    add("config.json", "manylangs", ["config.json", "tiny.json"], extract, flags)
    flags = _converted(".", "google_bert")
    add("torch", "torch", ["pytorch_model.bin"], convert, flags)
    flags = _vectors("lstm_fwd.pth")
    add("torch", "ulmfit", ["lstm_fwd.pth"], extract, flags)
    add("words", "ulmfit", ["itos.pkl"], extract, flags)
    files = ["ulmfit_config.json", "itos.json"]
    add("fastai", "fastai", files, extract, _vectors("."), "model.safetensors")
    return found + _trained_subjects() + _record_subjects()


def _trained_subjects():
    found = []
    flags = _flags(*_CLASSIFIER, "--do_predict", data_dir="data", **_USED)
    result = "made/test_results.tsv"
    for folder, reader, file in (
        ("classifier", "task.json", "out/task.json"),
        ("classifier", "TSV", "data/test.tsv"),
        ("jsonl", "JSONL", "data/test.jsonl"),
        ("csv", "CSV", "data/test.csv"),
    ):
        found.append(Subject(reader, folder, file, "run_classifier", flags, result))
    again = {"data_dir": "data", "output_dir": "out", **_MODEL}
    flags = _flags(*_CLASSIFIER, "--do_train", "--do_eval", **again)
    for reader, file in (
        ("training_settings.json", "out/training_settings.json"),
        ("*.tfrecord.json", "out/train-*.tfrecord.json"),
        ("checkpoint", "out/checkpoint"),
        ("TSV", "data/train.tsv"),
    ):
        result = "out/eval_results.txt"
        # Other labels are another training's, which the folder's settings tell.
        beside = ("training_settings.json",) if reader == "TSV" else ()
        found.append(
            Subject(reader, "classifier", file, "run_classifier", flags, result, beside)
        )
    for name, (flag, file, result) in _PREDICTIONS.items():
        flags = _flags("--do_predict", **_USED, **{flag: file})
        for broken in ("out/task.json", file):
            reader = {"dev.json": "SQuAD", "test.txt": "CoNLL"}.get(broken, "task.json")
            found.append(
                Subject(reader, name, broken, f"run_{name}", flags, f"made/{result}")
            )
    flags = _flags(
        *(
            "--model_type=taglm",
            "--tag_scheme=BIO",
            "--do_train",
            "--train_batch_size=8",
        ),
        *("--num_train_epochs=1", "--max_seq_length=24"),
        **{"train_file": "train.txt", "word_vectors": "vectors.txt"},
        **{"config_file": "taglm_config.json", "output_dir": "made"},
    )
    for file in ("taglm_config.json", "vectors.txt"):
        reader = file.replace("vectors.txt", "word vectors")
        found.append(
            Subject(reader, "taglm", file, "run_tagger", flags, "made/vocab.txt")
        )
    flags = _flags("--do_predict", test_file="test.txt", **_USED)
    for file in ("out/taglm_config.json", "out/vocab.txt"):
        reader = file.rpartition("/")[2].replace("vocab.txt", "words")
        result = "made/test_predictions.txt"
        found.append(Subject(reader, "taglm", file, "run_tagger", flags, result))
    return found


def _record_subjects():
    found = []
    for name, records, more in (
        ("pretraining", "bert.tfrecord", _BERT_RECORDS),
        ("gpt_pretraining", "gpt.tfrecord", ["--max_seq_length=16"]),
        ("elmo_pretraining", "elmo.tfrecord", ["--max_seq_length=11"]),
    ):
        config = {
            "gpt_pretraining": "gpt_config.json",
            "elmo_pretraining": "options.json",
        }
        paths = {"config_file": config.get(name, "bert_config.json")}
        paths |= {"input_file": records, "output_dir": "made"}
        flags = _flags("--do_eval", *more, **paths)
        result = "made/eval_results.txt"
        found.append(
            Subject("records", name, records, "run_pretraining", flags, result)
        )
    make = _flags(
        *("--num_workers=1", "--dupe_factor=1", "--max_seq_length=24"),
        "--max_predictions_per_seq=4",
        **{"input_file": "text.txt", "output_file": "made", "vocab_file": "vocab.txt"},
    )
    for reader, file in (("text", "text.txt"), ("vocab.txt", "vocab.txt")):
        script = "create_pretraining_data"
        found.append(Subject(reader, "text", file, script, make, "made"))
    learn = _flags("--vocab_size=60", input_file="text.txt", output_file="made")
    found.append(Subject("text", "text", "text.txt", "create_vocab", learn, "made"))
    return found
