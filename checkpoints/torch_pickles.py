"""Pickles read as data: a machine that builds plain values, and runs nothing.

A pickle is a program. Of its operations those that build values are done here; of the
names that it may call, each has a function of ours that makes a record, and any other
is refused by module and name.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from checkpoints.mapping import CheckpointError

# Beyond what the largest vocabularies need; bounds time and memory.
MAX_OPERATIONS = 1 << 24
_SHOWN = 80  # characters of a name in a message
# A tuple may be nested so deep that hashing it overflows Python's own stack.
_KEYS = (str, int, float, bytes, bool, type(None))
_LITERALS = frozenset(
    """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8
    """.split()  # noqa: SIM905
)
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)

Maker = Callable[..., Any]


class Name:
    """A name that the pickle may use: of a storage's class, or of a `Maker`."""

    def __init__(self, text: str):
        self.text = text


class Inert:
    """What stands for an object of a class that is not made here.

    Attributes:
      name: the class, as `module name`.
      args: what its constructor would have got.
      state: what would have been set in it.
    """

    def __init__(self, name: str, args: tuple):
        self.name, self.args, self.state = name, args, {}


def load(
    file: BinaryIO,
    source: str,
    makers: Mapping[str, Maker | None],
    persistent: Callable[[Any], Any],
) -> Any:
    """Reads one pickle, up to its end.

    Args:
      file: at the pickle's first byte; left behind its last one.
      source: the file, for messages.
      makers: `module name` of what the pickle may name -> what makes a record of the
        arguments with which it would be called; None: it may not be called.
      persistent: makes a record of a persistent id.

    Returns:
      dicts, lists, tuples, strings, numbers, and what `makers` and `persistent` return.

    Raises:
      CheckpointError: another name, an operation that is not needed for such values, or
        a damaged pickle.
    """
    machine = _Machine(source, makers, persistent)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count >= MAX_OPERATIONS:
                raise CheckpointError(
                    f"{source}: a pickle of more than {MAX_OPERATIONS} operations"
                )
            machine.do(operation.name, argument)
        return machine.pop()
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(f"{source}: a damaged pickle: {error}") from error


class _Machine:
    """The stack, and what each operation does to it."""

    def __init__(self, source, makers, persistent):
        self._source, self._makers, self._persistent = source, makers, persistent
        self._stack, self._outer, self._memo = [], [], {}

    def do(self, operation: str, argument: Any) -> None:
        """Does one operation."""
        if operation in _LITERALS:
            self._stack.append(argument)
        elif operation in _OPERATIONS:
            _OPERATIONS[operation](self, argument)
        else:
            raise CheckpointError(
                f"{self._source}: the pickle's operation {operation} is refused: no "
                "tensors, numbers, strings, lists or dicts need it"
            )

    def pop(self) -> Any:
        """Takes the last value."""
        return self._stack.pop()

    def _push(self, value):
        self._stack.append(value)

    def _push_last(self, count):
        """Makes a tuple of the last values."""
        values = [self.pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _mark(self, _):
        self._outer.append(self._stack)
        self._stack = []

    def _since_mark(self):
        values, self._stack = self._stack, self._outer.pop()
        return values

    def _remember(self, place):
        self._memo[place] = self._stack[-1]

    def _append(self, values):
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError(f"values are appended to a {type(target).__name__}")
        target.extend(values)

    def _set(self, pairs):
        target = self._stack[-1]
        if isinstance(target, Inert):
            target = target.state
        if type(target) is not dict:
            raise TypeError(f"items are set in a {type(target).__name__}")
        _fill(target, pairs)

    def _name(self, text):
        if text not in self._makers:
            shown = text.replace(" ", ".").encode("unicode_escape").decode()
            raise CheckpointError(
                f"{self._source}: the pickle names {shown[:_SHOWN]}, which is refused: "
                "only tensors and plain values are read, and nothing is run"
            )
        self._push(Name(text))

    def _stack_name(self, _):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name that is no string")
        self._name(f"{module} {name}")

    def _call(self, _):
        args, name = self.pop(), self.pop()
        maker = self._makers[name.text]
        if maker is None:
            raise TypeError(f"{name.text.replace(' ', '.')} is called")
        self._push(maker(*args))

    def _build(self, _):
        state, target = self.pop(), self._stack[-1]
        if isinstance(target, Inert):
            target.state["state"] = state
        elif type(target) is not dict:  # torch keeps versions there, under _metadata
            raise TypeError(f"the state of a {type(target).__name__} is set")

    def _load_persistent(self, _):
        self._push(self._persistent(self.pop()))


def _fill(target: dict, pairs: Iterator[tuple[Any, Any]]) -> None:
    for key, value in pairs:
        if type(key) not in _KEYS:
            raise TypeError(f"a key of a dict is a {type(key).__name__}")
        if key in target:
            raise ValueError(f"the key {str(key)[:_SHOWN]!r} is in a dict twice")
        target[key] = value


def ordered_dict(pairs: list = ()) -> dict:
    """Makes what `collections.OrderedDict` would."""
    made = {}
    _fill(made, ((key, value) for key, value in pairs))
    return made


def _pairs(values: list) -> Iterator[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine._push(None),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "TUPLE1": lambda machine, _: machine._push_last(1),
    "TUPLE2": lambda machine, _: machine._push_last(2),
    "TUPLE3": lambda machine, _: machine._push_last(3),
    "MARK": _Machine._mark,
    "TUPLE": lambda machine, _: machine._push(tuple(machine._since_mark())),
    "LIST": lambda machine, _: machine._push(machine._since_mark()),
    "DICT": lambda machine, _: machine._push(
        ordered_dict(_pairs(machine._since_mark()))
    ),
    "APPEND": lambda machine, _: machine._append([machine.pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._since_mark()),
    "SETITEM": lambda machine, _: machine._set([(machine.pop(), machine.pop())[::-1]]),
    "SETITEMS": lambda machine, _: machine._set(_pairs(machine._since_mark())),
    "PUT": _Machine._remember,
    "BINPUT": _Machine._remember,
    "LONG_BINPUT": _Machine._remember,
    "MEMOIZE": lambda machine, _: machine._remember(len(machine._memo)),
    "GET": lambda machine, place: machine._push(machine._memo[place]),
    "BINGET": lambda machine, place: machine._push(machine._memo[place]),
    "LONG_BINGET": lambda machine, place: machine._push(machine._memo[place]),
    "GLOBAL": _Machine._name,
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._load_persistent,
}
