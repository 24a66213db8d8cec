"""Folders as trainings leave them, of tiny models with random weights."""

import pathlib

import tiny
import tiny_systems

import modeling
from checkpoints import google_bert
from systems.classification_config import ClassificationConfig
from tasks.classification import ClassificationTask
from tasks.span import SpanConfig, SpanTask
from tasks.tagging import TaggingConfig, TaggingTask

LABELS = ("bad", "good")


def _write(folder, owner, model):
    """Writes weights, and what stands beside them."""
    folder.mkdir(exist_ok=True)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(model).items()}
    for name, value in tensors.items():
        if value.ndim > 1:  # new weights tell little apart
            tensors[name] = 3 * value
    google_bert.save(f"{folder}/model.ckpt-3", tensors)
    state = 'model_checkpoint_path: "model.ckpt-3"\n'
    pathlib.Path(folder, "checkpoint").write_text(state)
    owner.save_beside(str(folder))
    return folder


def encoder(model_type: str, folder: pathlib.Path) -> pathlib.Path:
    """Writes the encoder of a system alone; returns its folder."""
    system = tiny_systems.make(model_type, folder / "files")
    model = system.build_encoder(dtype="float32", fused=False, seed=5)
    return _write(folder / model_type, system, model)


def _trained(folder, task):
    model = task.build_model(dtype="float32", fused=False, seed=6)
    return _write(folder / "trained", task, model)


def classifier(model_type: str, folder: pathlib.Path, **changes) -> pathlib.Path:
    """Writes a classifier of good and bad texts; returns its folder."""
    system = tiny_systems.make(model_type, folder / "files")
    values = {
        "task_name": "custom",
        "output_kind": "single_label",
        "labels": LABELS,
        "metrics": ("accuracy",),
        "main_metric": "accuracy",
        "max_seq_length": 24,
        "do_lower_case": system.do_lower_case,
        "language": "en" if system.tells_languages else None,
    }
    config = ClassificationConfig(**(values | changes))
    return _trained(folder, ClassificationTask(config, system))


def tagger(model_type: str, folder: pathlib.Path, **changes) -> pathlib.Path:
    """Writes a tagger with a CRF; returns its folder."""
    system = tiny_systems.make(model_type, folder / "files")
    values = {
        "labels": ("O", "B-LOC", "B-PER", "I-PER"),
        "tag_scheme": "BIO",
        "output_scheme": "BIO",
        "crf": True,
        "max_seq_length": 16,
        "do_lower_case": system.do_lower_case,
    }
    return _trained(folder, TaggingTask(TaggingConfig(**(values | changes)), system))


def reader(folder: pathlib.Path) -> pathlib.Path:
    """Writes a BERT that answers questions; returns its folder."""
    config = SpanConfig(max_seq_length=24, max_query_length=4, doc_stride=6)
    return _trained(folder, SpanTask(config, tiny.system(folder)))
