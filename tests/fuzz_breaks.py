"""What is done to a good file to break it, by what reads it."""

import itertools
import json
from collections.abc import Callable, Iterator

from fuzz_world import Subject

Break = tuple[str, bytes | None] | tuple[str, bytes, str]

# What is done to a file, whatever is in it.
FILE_BREAKS: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\x00\xff garbage \xfe\n" * 9,
    "first bytes flipped": lambda data: bytes(255 - b for b in data[:16]) + data[16:],
    "not UTF-8": lambda data: data[: len(data) // 2] + b"\xff" + data[len(data) // 2 :],
}
# Left out where what is made is another input, and a good one. (Fewer pieces than rows
# are common, and warned of; floats have no checksum in some formats.)
GOOD = {
    "text": {"cut in half", "first bytes flipped"},
    "TSV": {"cut in half"},
    "vocab.txt": {"cut in half"},
    "tokenizer_config.json": {"missing", "no do_lower_case"},
    "options.json": {"no lstm.use_skip_connections"},
    "task.json": {"missing"},
    "CoNLL": {"cut in half", "one column"},
    "checkpoint": {"missing"},
    "safetensors": {"not UTF-8"},
    "HDF5": {"not UTF-8"},
    "OpenAI's arrays": {"not UTF-8"},
}


def file_breaks(data: bytes) -> Iterator[Break]:
    """Yields names of breaks, and what the file then holds; None where it is gone."""
    changes = {**FILE_BREAKS, "missing": lambda data: None}
    for name, change in changes.items():
        yield name, change(data)


def json_breaks(data: bytes) -> Iterator[Break]:
    """Yields JSON that is none, or of other values than a reader wants, and the key."""
    value = json.loads(data)
    yield (
        "a list in an object's place" if type(value) is dict else "an object",
        (b"[1]" if type(value) is dict else b"{}"),
    )
    yield "a number", b"7"
    yield "nested without end", b"[" * 100_000 + b"]" * 100_000
    yield "with a tail", data + b"{}"
    if type(value) is not dict or not value:
        return
    key = next(iter(value))
    twice = json.dumps(value)[:-1] + f', "{key}": 1}}'
    yield f"{key} twice", twice.encode()
    for name, literal in (("NaN", "NaN"), ("5,000 digits", "9" * 5000), ("1e999",) * 2):
        text = json.dumps(value | {key: "@"}).replace('"@"', literal)
        yield f"{key} is {name}", text.encode()
    for path in _paths(value):
        key = str(path[-1])
        yield f"no {'.'.join(map(str, path))}", _replaced(value, path), key
        for wrong in _wrong(_at(value, path)):
            name = f"{'.'.join(map(str, path))} is {json.dumps(wrong)[:20]}"
            yield name, _replaced(value, path, wrong), key, f"{wrong}: "


def _paths(value, depth=2):
    """Yields where the values of nested objects are, of many alike the first ones."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value[:1]))
    alike = len({type(item) for _, item in items}) == 1
    for key, item in itertools.islice(items, 3 if alike else None):
        yield (key,)
        if depth > 1 and isinstance(item, dict | list):
            yield from ((key, *rest) for rest in _paths(item, depth - 1))


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def _replaced(value, path, *new) -> bytes:
    """The JSON with another value at a path, or with none."""
    copy = json.loads(json.dumps(value))
    inner = _at(copy, path[:-1])
    if new:
        inner[path[-1]] = new[0]
    else:
        del inner[path[-1]]
    return json.dumps(copy).encode()


def _wrong(value):
    """Values that are of another kind, or that cannot be."""
    if isinstance(value, bool):
        return ["yes", 3, [True]]
    if isinstance(value, int):
        return [-1, 3_000_000_000, 0.5, "x", [value], True]
    if isinstance(value, float):
        return [-1.0, "x", [value], {}]
    if isinstance(value, str):
        return [3, "", "no such", ["x"], "../x"]
    return [3, "x", {"x": 1} if isinstance(value, list) else [3]]


# Breaks of text by reader: name -> change of the lines.
def _line(number, new):
    return lambda lines: [*lines[:number], new, *lines[number:][1:]]


TEXT_BREAKS: dict[str, dict[str, Callable[[list[str]], list[str]]]] = {
    "vocab.txt": {
        "a line twice": lambda lines: [*lines[:-1], lines[-2]],
        "no [UNK]": _line(1, "other"),
        "no [CLS]": _line(2, "other"),
        "a piece of 300 bytes": _line(-1, "x" * 300),
        "a piece of 300 bytes inside": _line(8, "ä" * 150),
    },
    "words": {
        "a line more": lambda lines: [*lines, "more"],
        "a line less": lambda lines: lines[:-1],
    },
    "TSV": {
        "no header": lambda lines: lines[1:],
        "a field less": _line(2, "good"),
        "a field more": _line(2, "good\tgood\tbad"),
        "another column": _line(0, "words\tlabel"),
        "a column twice": _line(0, "text\ttext"),
        "another label": _line(2, "good\tfair"),
        "a header alone": lambda lines: lines[:1],
        "commas": lambda lines: [line.replace("\t", ",") for line in lines],
    },
    "CSV": {
        "a field less": _line(2, "good"),
        "a field more": _line(2, "good,good,bad"),
        "a quote that does not end": _line(2, '"good,bad'),
        "another column": _line(0, "words,label"),
        "another label": _line(2, "good,fair"),
        "tabs": lambda lines: [line.replace(",", "\t") for line in lines],
    },
    "JSONL": {
        "no JSON": _line(1, "{good"),
        "a list": _line(1, '["good", "bad"]'),
        "no text": _line(1, '{"label": "good"}'),
        "text is a number": _line(1, '{"text": 3, "label": "good"}'),
        "text twice": _line(1, '{"text": "a", "text": "b", "label": "good"}'),
        "another label": _line(1, '{"text": "good", "label": "fair"}'),
        "label is a list": _line(1, '{"text": "good", "label": ["good"]}'),
        "nested without end": _line(1, "[" * 100_000),
        "5,000 digits": _line(1, '{"text": "a", "label": ' + "9" * 5000 + "}"),
    },
    "CoNLL": {
        "one column": lambda lines: [line.split(" ")[0] for line in lines],
        "a column less": lambda lines: ["good X", *lines[1:]],
        "a tag that is none": lambda lines: ["good X Q-PER", *lines[1:]],
        "a tag that goes on": lambda lines: ["good X I-PER", "bad X B-LOC", *lines[2:]],
        "blank lines alone": lambda lines: [""] * len(lines),
    },
    "word vectors": {
        "another count": _line(0, "3 6"),
        "another width": _line(0, "33 5"),
        "a number less": _line(2, "bad 1 2 3 4 5"),
        "no number": _line(2, "bad 1 2 3 4 5 x"),
        "NaN": _line(2, "bad 1 2 3 4 5 nan"),
        "a header alone": lambda lines: lines[:1],
    },
    "byte pairs": {},
    "checkpoint": {
        "another checkpoint": lambda lines: ['model_checkpoint_path: "model.ckpt-99"'],
        "a path": lambda lines: ['model_checkpoint_path: "../victim/model.ckpt-1"'],
    },
    "text": {},
}
SQUAD_BREAKS: dict[str, Callable[[dict], object]] = {
    "no data": lambda content: content.pop("data"),
    "data is an object": lambda content: content.update(data={}),
    "no paragraphs": lambda content: content["data"][0].pop("paragraphs"),
    "no articles": lambda content: content["data"].clear(),
    "no context": lambda content: _paragraph(content).pop("context"),
    "context is a number": lambda content: _paragraph(content).update(context=3),
    "no questions": lambda content: _paragraph(content).pop("qas"),
    "no question": lambda content: _question(content).pop("question"),
    "question is null": lambda content: _question(content).update(question=None),
    "no id": lambda content: _question(content).pop("id"),
    "id is a list": lambda content: _question(content).update(id=[3]),
    "ids twice": lambda content: _question(content).update(id="question-1-1"),
    "answers is text": lambda content: _question(content).update(answers="good"),
    "answer without text": lambda content: _question(content)["answers"][0].pop("text"),
}


def _paragraph(content):
    return content["data"][0]["paragraphs"][0]


def _question(content):
    return _paragraph(content)["qas"][0]


def squad_breaks(data: bytes) -> Iterator[Break]:
    """Yields questions that lack something, or have what they may not."""
    for name, change in SQUAD_BREAKS.items():
        content = json.loads(data)
        change(content)
        yield name, json.dumps(content).encode()
    yield "nested without end", b"[" * 100_000


def breaks(subject: Subject, data: bytes) -> Iterator[Break]:
    """Yields all that is done to a file."""
    for found in _breaks(subject, data):
        if found[0] not in GOOD.get(subject.reader, ()):
            yield found


def _breaks(subject, data):
    yield from file_breaks(data)
    if subject.reader == "SQuAD":
        yield from squad_breaks(data)
    elif subject.file.endswith(".json"):
        yield from json_breaks(data)
    else:
        lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
        for name, change in TEXT_BREAKS.get(subject.reader, {}).items():
            yield name, ("\n".join(change(lines)) + "\n").encode()
