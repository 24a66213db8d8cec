"""conlleval's rule (Tjong Kim Sang and Buchholz 2000), written for itself.

It reads the last two columns of a file, the right and the predicted tag, and counts the
columns of every line that is not empty.
"""


def entities(tags):
    """Returns (first word, word behind the last, type) of each entity."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        letter, _, kind = tag.partition("-")
        before, _, kind_before = (tags[i - 1] if i else "O").partition("-")
        goes_on = (
            letter in "IE"
            and letter != "O"
            and before in ("B", "I")
            and kind == kind_before
        )
        if start is not None and not goes_on:
            found.add((start, i, kind_before))
            start = None
        if letter != "O" and not goes_on:
            start = i
    return found


def f1(path, delimiter=None):
    """Scores a file whose columns are separated by `delimiter`, or by any blanks.

    Raises:
      AssertionError: a line has another number of columns than the first one.
    """
    sentences, width = [[]], None
    for line in path.read_bytes().decode().split("\n"):
        columns = line.split(delimiter) if line.strip() else []
        assert not columns or width in (None, len(columns)), line
        if columns:
            width = len(columns)
            sentences[-1].append(columns[-2:])
        else:
            sentences.append([])
    sides = [[[row[i] for row in rows] for rows in sentences] for i in (0, 1)]
    right, found = (
        {(i, *entity) for i, tags in enumerate(side) for entity in entities(tags)}
        for side in sides
    )
    return 2 * len(right & found) / max(len(right) + len(found), 1)
