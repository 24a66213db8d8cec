"""Pictures of the lineage: equal bytes, every name in them, the table beside them."""

import html

import pytest

from errors import UserError
from lineage import pictures, tables

pytest.importorskip("matplotlib")
HALF = [("$one$", 1.5), ("two & three", 2.25)]
LINES = [
    {"panel": panel, "name": name, "x": x, "mean": height + x / 7, "low": low,
     "high": height + x, "released": name == "$one$"}
    for panel in ("left", "right <1>")
    for name, height in HALF
    for x, low in ((4, height), (20, height - 1), (1487, None))
]  # fmt: skip
DOTS = [
    {"panel": panel, "group": group, "name": name, "mean": height, "low": None,
     "high": None, "released": False}
    if group == "a group"
    else {"panel": panel, "group": group, "name": name, "mean": height + 1,
          "low": height, "high": height + 2, "released": name == "$one$"}
    for panel in ("left", "right <1>")
    for group in ("a group", "群")
    for name, height in HALF
]  # fmt: skip
POINTS = [
    {"panel": panel, "group": group, "name": name, "x": i % 4, "y": i * height}
    for panel in ("left", "right <1>")
    for group in ("a group", "群")
    for name, height in HALF
    for i in range(7)
]
KINDS = {
    "lines": (pictures.lines, LINES, {"x": "across", "y": "up", "log": True}),
    "dots": (pictures.dots, DOTS, {"x": "across", "guess": {"left": 0.5}}),
    "points": (pictures.points, POINTS, {}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_equal_rows_make_equal_bytes_and_other_rows_others(tmp_path, kind):
    draw, rows, options = KINDS[kind]
    other = [dict(rows[0]), *rows[1:]]
    other[0]["mean" if kind != "points" else "x"] += 0.5
    made = {}
    for name, given in (("a", rows), ("b", rows), ("c", other)):
        (tmp_path / name).mkdir()
        svg = draw("picture", given, tmp_path / name, **options)
        assert svg == tmp_path / name / "picture.svg"
        made[name] = [p.read_bytes() for p in sorted((tmp_path / name).iterdir())]
    assert len(made["a"]) == 3
    assert made["a"] == made["b"]
    assert all(x != y for x, y in zip(made["a"], made["c"], strict=True))


@kinds
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_every_name_is_in_the_picture(tmp_path, kind):
    draw, rows, options = KINDS[kind]
    text = html.unescape(draw("picture", rows, tmp_path, **options).read_text())
    for row in rows:
        for column in {"panel", "group", "name"} & set(row):
            assert f"{row[column]}<" in text
    for label in {"across", "up"} & set(map(str, options.values())):
        assert f">{label}<" in text
    assert tables.read(tmp_path / "picture.csv") == rows


@pytest.mark.parametrize("kind", ["lines", "dots"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_released_weights_are_hollow(tmp_path, kind):
    draw, rows, options = KINDS[kind]
    filled = [row | {"released": False} for row in rows]
    hollow = "fill: #ffffff; stroke: #0072b2"
    assert hollow in draw("a", rows, tmp_path, **options).read_text()
    assert hollow not in draw("b", filled, tmp_path, **options).read_text()


def test_tables_are_read_as_they_were_written(tmp_path):
    rows = [
        {"a": 'x, "y"\n十', "b": 1 / 3, "c": 7, "d": None, "e": True},
        {"a": "plain", "b": 1e-300, "c": -2, "d": 2.5, "e": False},
    ]
    path = tmp_path / "t.csv"
    tables.write(path, rows)
    assert tables.read(path) == rows
    with pytest.raises(ValueError, match="the same columns"):
        tables.write(path, [{"a": 1}, {"b": 1}])
    assert tables.read(path) == rows
    path.write_text("a,b\n1\n")
    with pytest.raises(UserError, match="row 2 has 1 values; wanted 2"):
        tables.read(path)
    path.write_text("")
    with pytest.raises(UserError, match="no header"):
        tables.read(path)
