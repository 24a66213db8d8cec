"""The strict table engine: how names in a foreign file become ours, and back.

It knows no format. A format is a `Table`: rules that pair a template of their names
with a template of ours, and a list of names to ignore, each with its reason.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from errors import UserError

Transform = Callable[[np.ndarray], np.ndarray]
Value = TypeVar("Value")


class CheckpointError(UserError):
    """A file that is not what was asked for; the message lists every problem found."""


def identity(value: np.ndarray) -> np.ndarray:
    """Returns `value`: the tensor is stored as we store it."""
    return value


def transpose(value: np.ndarray) -> np.ndarray:
    """Returns `value` [a, b] as [b, a]: PyTorch keeps dense kernels as [out, in]."""
    return value.T


@dataclasses.dataclass(frozen=True)
class Field:
    """What a `{placeholder}` of a template stands for.

    Attributes:
      pattern: regular expression without groups of its own.
      written: the text to write where our name does not say; None if it must.
    """

    pattern: str
    written: str | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of a table.

    Attributes:
      theirs: template of the name in the file, e.g. `layer.{n}.output.weight`.
      ours: template of the released Google name or of its kin in other systems.
      read: from the file's array to ours.
      write: the inverse of `read`.
    """

    theirs: str
    ours: str
    read: Transform = identity
    write: Transform = identity


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one of our tensors comes from: a name in the file, and the rule for it."""

    name: str
    rule: Rule


@dataclasses.dataclass(frozen=True)
class Matched:
    """The names of a file, sorted out.

    Attributes:
      sources: our name -> the names in the file that hold it, preferred one first.
      ignored: name in the file -> reason.
      unknown: names in the file that no rule and no reason covers.
    """

    sources: dict[str, list[Source]]
    ignored: dict[str, str]
    unknown: list[str]


class Table:
    """Rules of one format. Of two rules for one tensor, the earlier is preferred."""

    def __init__(
        self,
        rules: Sequence[Rule],
        fields: Mapping[str, Field],
        ignored: Mapping[str, str],
    ):
        """Compiles the templates.

        Args:
          rules: the table.
          fields: placeholder -> what it stands for.
          ignored: regular expression over whole names in the file -> reason.
        """
        self._rules = rules
        self._fields = fields
        self._ignored = ignored
        self._theirs = [_compile(rule.theirs, fields) for rule in rules]
        self._ours = [_compile(rule.ours, fields) for rule in rules]

    def match(self, names: Iterable[str]) -> Matched:
        """Sorts the names of a file into sources, ignored and unknown."""
        ranked: dict[str, list[tuple[int, Source]]] = {}
        ignored, unknown = {}, []
        for name in sorted(names):
            found = self._find(name)
            reason = find_reason(self._ignored, name)
            if found is not None:
                rank, ours = found
                source = Source(name, self._rules[rank])
                ranked.setdefault(ours, []).append((rank, source))
            elif reason is not None:
                ignored[name] = reason
            else:
                unknown.append(name)
        sources = {
            ours: [source for _, source in sorted(found, key=lambda pair: pair[0])]
            for ours, found in ranked.items()
        }
        return Matched(sources, ignored, unknown)

    def target(self, ours: str, **chosen: str) -> Source | None:
        """Finds the name under which the format writes one of our tensors.

        Args:
          ours: our name.
          **chosen: placeholder -> text, instead of its `Field.written`.

        Returns:
          The name and rule, or None when the format has no place for the tensor.
        """
        written = {k: f.written for k, f in self._fields.items() if f.written}
        for rule, pattern in zip(self._rules, self._ours, strict=True):
            found = pattern.fullmatch(ours)
            if found:
                values = {**written, **chosen, **found.groupdict()}
                return Source(rule.theirs.format(**values), rule)
        return None

    def _find(self, name: str) -> tuple[int, str] | None:
        for rank, pattern in enumerate(self._theirs):
            found = pattern.fullmatch(name)
            if found:
                return rank, self._rules[rank].ours.format(**found.groupdict())
        return None


def _compile(template: str, fields: Mapping[str, Field]) -> re.Pattern:
    parts = re.split(r"\{(\w+)\}", template)  # literal, placeholder, literal, ...
    for i, part in enumerate(parts):
        parts[i] = f"(?P<{part}>{fields[part].pattern})" if i % 2 else re.escape(part)
    return re.compile("".join(parts))


def find_reason(reasons: Mapping[str, Value], name: str) -> Value | None:
    """Returns the value of the first regular expression that is all of `name`."""
    for pattern, reason in reasons.items():
        if re.fullmatch(pattern, name):
            return reason
    return None


def choose_sources(
    matched: Matched, read: Callable[[str], np.ndarray], path: str
) -> tuple[dict[str, Source], dict[str, str]]:
    """Picks one source a tensor, and proves the others equal to it.

    Args:
      matched: what `Table.match` found.
      read: name in the file -> array.
      path: the file, for messages.

    Returns:
      Our name -> source, and the duplicates' names -> the reason to ignore them.

    Raises:
      CheckpointError: duplicates that differ (an untied output layer, for one).
    """
    chosen, ignored, problems = {}, {}, []
    for ours, sources in matched.sources.items():
        first, *others = sources
        chosen[ours] = first
        for other in others:
            ignored[other.name] = f"equal to {first.name}"
            if not np.array_equal(
                first.rule.read(read(first.name)),
                other.rule.read(read(other.name)),
                equal_nan=True,  # refused, by name, when it is read
            ):
                problems.append(
                    f"{other.name} differs from {first.name}; both are {ours} here, "
                    "so they must be equal (tied weights)"
                )
    raise_problems(problems, path)
    return chosen, ignored


def raise_problems(problems: Sequence[str], path: str) -> None:
    """Raises one CheckpointError that lists `problems`, if there are any."""
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise CheckpointError(f"{path}: {len(problems)} problem(s):{lines}")


def check_shape(
    checkpoint: "Checkpoint", name: str, wanted: tuple[int, ...], keys: str
) -> None:
    """Checks that a tensor, if the file has it, is as the config says.

    Args:
      checkpoint: with a config.
      name: the tensor's.
      wanted: its shape by the config.
      keys: the config's that say so, for the message.

    Raises:
      CheckpointError: it has another shape.
    """
    found = checkpoint.shapes.get(name)
    if found not in (None, wanted):
        raise CheckpointError(
            f"{checkpoint.path}: {name} is {list(found)}, but {keys} of the config are "
            f"{list(wanted)}; is --bert_config_file another model's?"
        )


def mapped_shape(shape: Sequence[int], rule: Rule) -> tuple[int, ...]:
    """Returns the shape that `rule.read` makes of `shape`, without any memory."""
    return rule.read(np.broadcast_to(np.float32(0), tuple(shape))).shape


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a head decides, and between what.

    Attributes:
      kind: "single_label", "multi_label", "regression", "multiple_choice", or the name
        of another kind of task: "tagging", "squad".
      labels: the names of its outputs in order; () where they have none, or none that
        is known.
    """

    kind: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: names and shapes now, tensors when asked for.

    Attributes:
      format: one of `formats`, or one that is only read: `tensorflow` for our training
        folders of other systems than BERT, `elmoformanylangs`.
      path: TF prefix, or the file (index file when sharded) of weights.
      shapes: our name -> shape.
      ignored: name in the file -> reason.
      unknown: name in the file that the format's table does not know -> shape.
      vocab_tensors: our names of tensors with one row a vocabulary entry.
      config: the config from beside the weights; None when there is none.
      vocab_file: the vocabulary beside the weights, or None.
      do_lower_case: what the folder's tokenizer does; None when it does not say.
      outputs: of the head, when the folder says what it is; None when it does not.
      reader: our name -> float32 array; call `read`.
      parts: of a model of several tasks, by their names, what their heads decide.
    """

    format: str
    path: str
    shapes: Mapping[str, tuple[int, ...]]
    ignored: Mapping[str, str]
    unknown: Mapping[str, tuple[int, ...]]
    vocab_tensors: frozenset[str]
    config: Any
    vocab_file: str | None
    do_lower_case: bool | None
    outputs: Outputs | None
    reader: Callable[[str], np.ndarray]
    parts: Mapping[str, Outputs] = dataclasses.field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classifier's labels in order, when the folder names them."""
        return (self.outputs and self.outputs.labels) or None

    def read(self, name: str) -> np.ndarray:
        """Reads one tensor.

        Args:
          name: a key of `shapes`.

        Returns:
          float32 array of that shape.

        Raises:
          CheckpointError: no such tensor, the file is damaged, or there are values in
            it with which nothing can be computed.
        """
        if name not in self.shapes:
            raise CheckpointError(f"{self.path}: no tensor {name}")
        with np.errstate(over="ignore"):  # what is too large for 32 bits is refused
            value = self.reader(name)
        finite = np.isfinite(value)
        if not finite.all():
            raise CheckpointError(
                f"{self.path}: {name} has {(~finite).sum()} values of {value.size} "
                "that are NaN or infinite (in 32 bits): its training diverged, or the "
                "file is damaged"
            )
        return value
