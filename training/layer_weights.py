"""What a model has learnt to make of its encoder's layers (layers/scalar_mix.py)."""

import os

import keras
from absl import logging

import modeling
from checkpoints.files import write_text
from modeling.layers.scalar_mix import GAMMA, WEIGHTS, shares

FILE = "layer_weights.tsv"


def report(model: keras.layers.Layer, folder: str) -> None:
    """Tells, and writes to layer_weights.tsv, how much a model takes of each layer.

    Args:
      model: nothing is told of one that mixes no layers.
      folder: where the file is written: a row a layer, from 0, the embeddings, on, with
        its share; then gamma, the factor on the sum.
    """
    variables = modeling.named_variables(model)
    mixes = [name for name in variables if name.endswith(f"/{WEIGHTS}")]
    if not mixes:
        return
    (name,) = mixes
    found = shares(variables[name]).numpy().tolist()
    gamma = float(variables[name.removesuffix(WEIGHTS) + GAMMA].numpy()[0])
    logging.info("***** Layer weights *****")
    for layer, share in enumerate(found):
        logging.info("  layer %d = %.4f", layer, share)
    logging.info("  gamma = %.4f", gamma)
    rows = [("layer", "weight"), *enumerate(f"{share:.6f}" for share in found)]
    rows.append(("gamma", f"{gamma:.6f}"))
    text = "".join(f"{name}\t{value}\n" for name, value in rows)
    write_text(os.path.join(folder, FILE), text)
