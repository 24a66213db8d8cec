"""Folders of weights with a file changed at random: read, or refused by name."""

import collections
import json
import pathlib
import shutil

import numpy as np
import pytest
import tiny
import tiny_gpt

import checkpoints
import modeling
from checkpoints import google_bert, huggingface, openai_gpt
from errors import UserError
from modeling import BertClassifier, GptLanguageModel

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/checkpoints"
NUMBER = 90  # of each kind
LETTERS = np.frombuffer(b'0123456789{}[]",:-.eE \nnultrefs\xff\x00', np.uint8)
VALUES = [None, [], {}, "x", -1, 0, 1.5, True, 10**30, [[1]], {"a": []}, ["a", 1]]


def write_google(folder):
    """A training folder of ours: Google's files and task.json."""
    task = tiny.task(folder)
    model = task.build_model(dtype="float32", fused=False, seed=1)
    tensors = {k: v.numpy() for k, v in modeling.named_variables(model).items()}
    task.save_beside(str(folder))
    google_bert.save(str(folder / "bert_model.ckpt"), tensors)


def write_huggingface(folder):
    """A classifier of theirs, with named labels, in shards."""
    vocab, _ = tiny.write_model(folder)
    model = BertClassifier(tiny.CONFIG, 2)
    tensors = {k: v.numpy() for k, v in modeling.named_variables(model).items()}
    labels, size = ("bad", "good"), 9000
    target, config = str(folder), tiny.CONFIG
    huggingface.save(
        target, tensors, config, vocab, True, labels=labels, max_shard_bytes=size
    )


def write_openai(folder):
    """OpenAI's twelve files."""
    vocab, _ = tiny_gpt.write_model(folder)
    model = GptLanguageModel(tiny_gpt.CONFIG)
    tensors = {k: v.numpy() for k, v in modeling.named_variables(model).items()}
    openai_gpt.save(str(folder), tensors, tiny_gpt.CONFIG, vocab, None)


def write_huggingface_gpt(folder):
    """What transformers wrote."""
    shutil.copytree(GOLDEN / "huggingface_gpt", folder, dirs_exist_ok=True)


def changed(path, random):
    """A file's bytes, cut, changed in places, or with another value in its JSON."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    way = random.choice(["cut", "places", "value"])
    if way == "value" and path.suffix == ".json":
        values = json.loads(path.read_text())
        key = random.choice(list(values)) if isinstance(values, dict) else 0
        values[key] = VALUES[random.integers(len(VALUES))]
        return json.dumps(values).encode()
    if way == "cut":
        return data[: random.integers(len(data))].tobytes()
    places = random.integers(0, min(len(data), 400), random.integers(1, 5))
    data[places] = random.choice(LETTERS, len(places))
    return data.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "write", [write_google, write_huggingface, write_openai, write_huggingface_gpt]
)
def test_a_changed_file_is_read_or_refused_by_name(tmp_path, write):
    whole, folder = tmp_path / "whole", tmp_path / "changed"
    whole.mkdir()
    write(whole)
    random, counts = np.random.default_rng(7), collections.Counter()
    names = sorted(path.name for path in whole.iterdir())
    for _ in range(NUMBER):
        shutil.copytree(whole, folder)
        path = folder / random.choice(names)
        path.write_bytes(changed(path, random))
        try:
            found = checkpoints.open_checkpoint(str(folder))
            for name in found.shapes:
                assert np.isfinite(found.read(name)).all()
            counts["read"] += 1
        except UserError as error:
            counts["refused"] += str(folder) in str(error)
        shutil.rmtree(folder)
    assert counts["read"] + counts["refused"] == NUMBER
    assert counts["refused"] > NUMBER // 4
