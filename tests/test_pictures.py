"""Pictures: equal data make equal bytes, and text stays as it was written."""

import builtins
import re

import pytest

import pictures
from errors import MissingExtra
from reports import page

pytest.importorskip("matplotlib")


def draw(path, heights=(1.0, 3.0, 2.0)):
    with pictures.figure(3, 2) as figure:
        axes = figure.add_subplot()
        axes.plot(heights)
        axes.set_title("$5 and 十 $")
        pictures.name_lines(axes, [(2, heights[-1], "a <line>", pictures.BLUE)])
        pictures.save(str(path), figure)
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_equal_data_make_equal_bytes_at_any_time(tmp_path, ending, monkeypatch):
    first = draw(tmp_path / f"a{ending}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # matplotlib's own clock
    assert draw(tmp_path / f"b{ending}") == first
    assert draw(tmp_path / f"c{ending}", (1.0, 3.0, 2.5)) != first


def test_an_svg_keeps_text_as_text(tmp_path):
    text = draw(tmp_path / "a.svg").decode()
    assert ">$5 and 十 $<" in text
    assert ">a &lt;line&gt;<" in text


def test_names_inside_two_svgs_of_a_page_differ():
    found = []
    for prefix in ("first", "second"):
        with pictures.figure(3, 2) as figure:
            figure.add_subplot().plot([1, 2])
            found.append(pictures.svg(figure, prefix))
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in found]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, names in zip(found, ids, strict=True):
        assert set(re.findall(r'"#([^"]+)"|url\(#([^)]+)\)', text))
        used = re.findall(r'(?:href="|url\()#([^")]+)', text)
        assert set(used) <= names


def test_one_file_is_twice_in_a_page_without_a_name_twice(tmp_path):
    text = draw(tmp_path / "a.svg").decode()
    made = page.as_html("t", [page.Section("one", svgs=[text, text])] * 2)
    ids = re.findall(r'\bid="([^"]+)"', made)
    assert len(ids) > 30
    assert len(ids) == len(set(ids))
    assert made.count("<svg ") == 4
    assert "<?xml" not in made


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    imports = builtins.__import__

    def refuse(name, *rest, **named):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imports(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with (
        pytest.raises(MissingExtra, match=re.escape("word2bert[plot]")),
        pictures.figure(3, 2),
    ):
        raise AssertionError("a figure without matplotlib")
