"""Texts of several languages, as flags name them: `en:FILES,de:FILES`."""

import collections
from collections.abc import Iterator, Mapping, Sequence

from errors import UserError

_SMOOTHING = 0.5  # Lample and Conneau 2019, section 3.1


def problems(
    languages: Sequence[str], input_file: str | None, parallel: str | None = None
) -> Iterator[str]:
    """Yields what is wrong with --languages, --input_file and --parallel."""
    if not languages:
        yield "--model_type=xlm needs --languages, as in --languages=en,de"
        return
    if len(set(languages)) < len(languages) or any("-" in name for name in languages):
        yield (
            f"--languages={','.join(languages)}: wanted different names, without '-', "
            "which joins them in pairs"
        )
        return
    try:
        patterns(languages, input_file or "")
        pairs(languages, parallel or "")
    except UserError as error:
        yield str(error)


def patterns(languages: Sequence[str], input_file: str) -> dict[str, list[str]]:
    """Returns language -> names and globs of its files.

    Args:
      languages: those that there may be.
      input_file: `en:a.txt,b*.txt,de:c.txt`.

    Raises:
      UserError: a language is not among them, or a file has none.
    """
    return _by_name(input_file, "input_file", languages, languages)


def pairs(languages: Sequence[str], parallel: str) -> dict[str, list[str]]:
    """Returns pair of languages -> its two files.

    Args:
      languages: those that there may be.
      parallel: `en-de:a.en,b.de`; the first-named language's file is the first.

    Raises:
      UserError: a language is not among them, or a pair has not two files.
    """
    names = [f"{a}-{b}" for a in languages for b in languages if a != b]
    found = _by_name(parallel, "parallel", names, languages)
    for name, files in found.items():
        if len(files) != 2:
            raise UserError(
                f"--parallel: {name} has {len(files)} files, wanted two, as in "
                f"{name}:FILE,FILE"
            )
    return found


def _by_name(value, flag, names, languages):
    """Reads `name:file,file,name:file`; nothing of an empty text."""
    found: dict[str, list[str]] = {}
    name = None
    for item in value.split(",") if value else ():
        before, colon, after = item.partition(":")
        if colon and not after.startswith("//"):  # as of gs://
            name, item = before.strip(), after
        if name not in names:
            got = "no language" if name is None else repr(name)
            raise UserError(
                f"--{flag}={value}: got {got} before {item!r}; wanted "
                f"{'en-de:FILE,FILE' if flag == 'parallel' else 'en:FILE'}, of the "
                f"languages {', '.join(languages)}, which --languages names"
            )
        found.setdefault(name, []).append(item)
    return found


def smoothed(
    texts: Mapping[str, collections.Counter[str]],
) -> collections.Counter[str]:
    """Returns the words of all languages as if small ones were larger than they are.

    A language that has a share p of all words counts as one that has p^0.5, over the
    sum of those (the paper's section 3.1, which draws sentences). In all there are as
    many words as before.

    Args:
      texts: language -> word -> occurrences.
    """
    sizes = {name: words.total() ** _SMOOTHING for name, words in texts.items()}
    every = sum(words.total() for words in texts.values()) / max(1, sum(sizes.values()))
    found = collections.Counter()
    for name, words in texts.items():
        factor = every * sizes[name] / max(1, words.total())
        for word, count in words.items():
            found[word] += max(1, round(count * factor))
    return found
