"""What the heads of a Transformer attend to: of all lines of a file, and drawn of one.

lines -> pieces -> attention probabilities -> a .npz, a picture
"""

import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import pictures
import streams
from atomic_files import atomic_path, temporary_folder
from data_pipeline.features import lines as sentences
from errors import UserError
from systems.system import System

_CELL, _LARGEST = 1.3, 4.0  # inches of a head's square


class Attentions(NamedTuple):
    """What a line's pieces attend to.

    Attributes:
      pieces: S of them.
      values: float32 [layers, heads, S, S]: of each query, the last axis adding up
        to 1.
    """

    pieces: tuple[str, ...]
    values: np.ndarray


class AttentionReader:
    """Computes the attention probabilities of lines, one after the other."""

    def __init__(self, system: System, max_seq_length: int):
        """Loads the encoder.

        Args:
          system: one that reads the flag --attentions.
          max_seq_length: pieces of the longest line; longer ones are cut.

        Raises:
          UserError: the encoder cannot read such a length, or what is said of
            System.initialize.
        """
        self._source, self._length = system.need("extracts"), max_seq_length
        self._source.check_length(max_seq_length, False)
        self._buckets = self._source.buckets(max_seq_length)
        model = system.load_encoder(dtype="float32", fused=False)
        self._run = tf.function(
            lambda batch: model.attentions(**system.encoder_inputs(batch)),
            reduce_retracing=True,
        )

    def read(self, texts: Iterable[str]) -> Iterator[Attentions]:
        """Yields what each line's pieces attend to."""
        for text in texts:
            (line,) = self._source.lines([text], self._length, False)
            pieces = tuple(self._source.tokens(line))
            size = len(pieces)
            padded = next(bucket for bucket in self._buckets if bucket >= size)
            batch = self._source.batch([(line, np.arange(size))], padded)
            batch = {name: tf.constant(value) for name, value in batch.items()}
            yield Attentions(pieces, self._run(batch)[0, :, :, :size, :size].numpy())


def read_file(
    reader: AttentionReader,
    input_file: str,
    output_file: str,
    plot_file: str | None = None,
    plot_line: int = 0,
) -> None:
    """Writes the attentions of every line of a file, and draws those of one.

    Args:
      reader: what computes them.
      input_file: UTF-8, one text a line, or a pair as `a ||| b`.
      output_file: a .npz: of line i, from 0 on, `pieces_i`, str [S], and
        `attentions_i`, float32 [layers, heads, S, S].
      plot_file: a picture, see `draw`; None: there is none.
      plot_line: of which line, from 0 on.

    Raises:
      MissingFile, UserError: see features.lines.count_lines; or there is no such line.
      MissingExtra: matplotlib, which draws, is not installed.
    """
    with streams.kept(input_file) as path:
        number = sentences.count_lines(path, input_file)
        if plot_file and plot_line >= number:
            raise UserError(
                f"--plot_line={plot_line}, but {input_file} has {number} lines: wanted "
                f"0 to {number - 1}"
            )
        found = reader.read(sentences.read_lines(path, input_file))
        write(output_file, _watched(found, plot_file, plot_line))


def _watched(found, plot_file, plot_line):
    """Passes attentions on, and draws those of one line."""
    for number, attentions in enumerate(found):
        if plot_file and number == plot_line:
            draw(plot_file, attentions)
        yield attentions


def write(path: str, found: Iterable[Attentions]) -> None:
    """Writes a .npz line by line; it appears when it is complete."""
    with atomic_path(path) as temporary, temporary_folder(path) as folder:
        local = os.path.join(folder, "attentions.npz")
        with zipfile.ZipFile(local, "w") as archive:
            for number, (pieces, values) in enumerate(found):
                _add(archive, f"pieces_{number}", np.array(pieces, str))
                _add(archive, f"attentions_{number}", values)
        tf.io.gfile.copy(local, temporary, overwrite=True)


def _add(archive, name, values):
    # Without a time: the same attentions are the same bytes.
    entry = zipfile.ZipInfo(f"{name}.npy")
    with archive.open(entry, "w", force_zip64=True) as file:
        np.lib.format.write_array(file, values, allow_pickle=False)


def draw(path: str, attentions: Attentions) -> None:
    """Draws a square for each head, a row for each layer, from the first one down.

    A square's rows are what attends, its columns what is attended to; the darker the
    more, by the square root, so that small shares are seen, too.

    Args:
      path: the picture, which ends in one of pictures.ENDINGS.
      attentions: of a line.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    pieces, values = attentions
    layers, heads, size, _ = values.shape
    # A square that has room for the names of pieces, which stand at the outer ones.
    side = min(max(_CELL, 0.11 * size), _LARGEST)
    with pictures.figure(side * (heads + 1), side * (layers + 1)) as figure:
        grid = figure.subplots(layers, heads, squeeze=False)
        _draw_heads(figure, grid, pieces, values)
        pictures.save(path, figure)


def _draw_heads(figure, grid, pieces, values):
    from matplotlib import colors  # there, if the figure is

    layers, heads = grid.shape
    norm = colors.PowerNorm(0.5, 0, 1)
    for (layer, head), axes in np.ndenumerate(grid):
        picture = axes.imshow(values[layer, head], cmap="Blues", norm=norm)
        axes.spines[:].set_visible(True)
        _name(axes, pieces, across=layer == layers - 1, down=head == 0)
        if layer == 0:
            axes.set_title(f"head {head}", fontsize=8)
        if head == heads - 1:
            axes.yaxis.set_label_position("right")
            axes.set_ylabel(f"layer {layer}", fontsize=8)
    bar = figure.colorbar(picture, ax=grid, shrink=0.5, aspect=40)
    bar.set_ticks([0, 0.01, 0.1, 0.25, 0.5, 1])


def _name(axes, pieces: Sequence[str], across: bool, down: bool) -> None:
    """Writes pieces at two sides of a square, or at none."""
    axes.tick_params(length=0, labelsize=6)
    for axis, named in ((axes.xaxis, across), (axes.yaxis, down)):
        places = range(len(pieces)) if named else []
        axis.set_ticks(places, pieces if named else [])
    axes.tick_params(axis="x", labelrotation=90)
