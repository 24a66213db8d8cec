"""Writes the files of this folder with torch and transformers; see README.md.

PEERS_VENV/bin/python tests/golden/torch/make.py
"""

import argparse
import pathlib
import warnings

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
HUGGING_FACE = HERE.parent / "checkpoints"


def tensors():
    """Every type, and every way in which a tensor may lie in its storage."""
    torch.manual_seed(3)
    shared = torch.randn(6, 5)
    return {
        "float32": torch.randn(2, 3),
        "float64": torch.randn(3, dtype=torch.float64),
        "float16": torch.randn(4).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "int64": torch.tensor([-(2**40), 7]),
        "int32": torch.tensor([[-5], [6]], dtype=torch.int32),
        "int16": torch.tensor([-300, 300], dtype=torch.int16),
        "int8": torch.tensor([-3, 3], dtype=torch.int8),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "whole": shared,
        "rows": shared[2:4],
        "transposed": shared.t(),
        "strided": shared[1::2, ::3],
        "expanded": torch.tensor([[1.5], [2.5]]).expand(2, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


def write_tensors():
    """One object in both forms, and its values by numpy."""
    made = tensors()
    torch.save(made, HERE / "zip.pt")
    torch.save(made, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save({"a": made["float32"]}, HERE / "no_crc.pt")
    torch.serialization.set_crc32_options(True)
    values = {
        name: (t.float() if t.dtype == torch.bfloat16 else t).detach().numpy()
        for name, t in made.items()
    }
    np.savez(HERE / "values.npz", **values)


def write_training():
    """What scripts keep to go on training: the model with much beside it."""
    torch.manual_seed(5)
    model = torch.nn.DataParallel(torch.nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(lr=1e-3, name="tiny", device=torch.device("cpu"))
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": args,
        "epoch": 3,
        "best": np.float64(0.5),
        "order": np.arange(3),
        "loss": torch.tensor(0.25),
    }
    torch.save(state, HERE / "training.pth")


def write_models():
    """The weights of ../checkpoints as transformers 4 kept them."""
    bert = transformers.BertForPreTraining.from_pretrained(HUGGING_FACE / "huggingface")
    bert.config._name_or_path = ""
    bert.save_pretrained(HERE / "bert", safe_serialization=False, max_shard_size="9KB")
    gpt = transformers.OpenAIGPTLMHeadModel.from_pretrained(
        HUGGING_FACE / "huggingface_gpt"
    )
    (HERE / "gpt").mkdir(exist_ok=True)
    path = HERE / "gpt/pytorch_model.bin"
    torch.save(gpt.state_dict(), path, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write_tensors()
    write_training()
    write_models()
