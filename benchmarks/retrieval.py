"""How often a sentence's nearest vector is that of its translation.

    for lang in en de; do python extract_features.py --init_checkpoint=xlm \
        --language=$lang --input_file=val.$lang --output_file=$lang.npy \
        --pooling=mean --mask_cls_sep --layers=0,1,2,3; done
    python benchmarks/retrieval.py --first=en.npy --second=de.npy --num_layers=4

Row i of one file is the translation of row i of the other. Vectors are compared by
cosine, as they are and after the mean of their language is taken off.
"""

import startup

import numpy as np
from absl import flags

import paths
from errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("first", None, "Vectors of one language: npy [lines, width].")
flags.DEFINE_string("second", None, "Those of the other one.")
flags.DEFINE_integer(
    "num_layers", 1, "Layers whose vectors stand one after the other in a row.", 1
)


def accuracies(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Returns how often the nearest of the other language's is the translation.

    Args:
      first: float [N, H].
      second: float [N, H]; row i is the translation of row i.

    Returns:
      From `first` to `second`, and back.
    """
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second)]
    cosines = units[0] @ units[1].T
    rows = np.arange(len(first))
    return tuple(float(np.mean(c.argmax(1) == rows)) for c in (cosines, cosines.T))


def read(flag: str) -> np.ndarray:
    """Reads a flag's vectors: float [N, layers, H].

    Raises:
      UserError: the file holds something else.
    """
    (path,) = paths.find_files([FLAGS[flag].value], flag)
    found, layers = np.load(path), FLAGS.num_layers
    if found.ndim != 2 or found.shape[1] % layers:
        raise UserError(
            f"--{flag}={path}: got shape {found.shape}, wanted [lines, width], the "
            f"width a multiple of --num_layers={layers}"
        )
    return found.reshape(len(found), layers, -1)


def main(_) -> None:
    """Reads, compares, and prints two lines a layer."""
    first, second = read("first"), read("second")
    if first.shape != second.shape:
        raise UserError(
            f"--first has {first.shape[0]} lines of width {first[0].size}, --second "
            f"{second.shape[0]} of {second[0].size}; wanted as many"
        )
    for layer in range(FLAGS.num_layers):
        a, b = first[:, layer], second[:, layer]
        for name, pair in (("", (a, b)), ("_centred", (a - a.mean(0), b - b.mean(0)))):
            there, back = accuracies(*pair)
            print(f"layer_{layer}{name} = {there:.3f} {back:.3f}")


if __name__ == "__main__":
    startup.run(main, required=["first", "second"])
