"""What the stages of a run have in common: text, length of a pre-training, seeds.

The methods make stages, which refer to one another; nothing is run here. `stage / NAME`
is a file for the flags of another stage, `stage.folder` an --init_checkpoint.

    bert = setting.pretrained("bert", seed=0)
    setting.pretrained("bert", 0, records={"mask_probability": 1, ...})  # other flags
    setting.pretrained("gpt", 0, config="my_gpt.json", minutes=2)
    data = setting.data("bbc", labels=20, seed=0)        # train.tsv, test.tsv, ...
    setting.classified("bert", bert, data, seed=0)       # predictions.tsv
    conll = setting.data("conll", labels=2000, seed=0)   # train.txt, test.txt
    setting.tagged("bert", bert, conll, seed=0)          # predictions.tsv
    setting.line_vectors("bert", bert, data / "texts.txt")           # vectors.npy
    setting.word_vectors("bert", bert, SENTENCES, layers="1,2")      # vectors.npy
"""

import dataclasses
from collections.abc import Mapping, Sequence

from lineage import costs
from lineage.code import ROOT
from lineage.stages import HERE, Input, Output, Stage, Value, join
from lineage.systems import BY_NAME, Flags, System

NONE: Flags = {}
Model = Stage | Input  # what was pre-trained here, or elsewhere
# Of a pre-training whose speed is measured, by the flag that says how long it is.
CALIBRATION = {"num_train_steps": 60, "iter": 3}
FOLDERS = {"sst2": "sst2", "conll": "conll2003", "sts": "sts", "sick": "sick"}
_WARMUP = 0.1  # share of a pre-training's updates


@dataclasses.dataclass(frozen=True)
class Released:
    """Weights that were trained elsewhere.

    Attributes:
      title: as they are shown.
      system: by whose recipes they are used.
      path: what --init_checkpoint takes.
      prefix: what it was trained to have before each text.
      pace: see System.
    """

    title: str
    system: str
    path: str
    prefix: str = ""
    pace: float = 0.0015


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where data is.

    Attributes:
      bbc: the folder of BBC News, <class>/*.txt.
      wikipedia: an export of pages, .xml.bz2; or None.
      pairs: files of word pairs and scores, by their task.
      data_dir: the folder of further data sets; or None.
      texts: files to learn from besides.
      released: weights of others, by a name.
    """

    bbc: str
    wikipedia: str | None
    pairs: Mapping[str, str]
    data_dir: str | None = None
    texts: tuple[str, ...] = ()
    released: Mapping[str, Released] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a run is made with.

    Attributes:
      sources: where data is.
      minutes: of one core, that a system is pre-trained for.
      rates: seconds of one core that an update takes, or an epoch where these are
        counted, by system; None while they are measured.
      seeds: of pre-trainings.
      task_seeds: of what is drawn of the labels, and of fine-tunings.
    """

    sources: Sources
    minutes: float
    rates: Mapping[str, float] | None
    seeds: tuple[int, ...]
    task_seeds: tuple[int, ...]

    @property
    def text(self) -> Stage:
        """The text that all learn from: / "text.txt", "words.txt", "plain.txt"."""
        flags = {"bbc": Input(self.sources.bbc), "output_dir": HERE}
        tasks = ["bbc", *(FOLDERS if self.sources.data_dir else ())]
        flags["without"] = tuple(self.data(task) / "evaluated.txt" for task in tasks)
        if self.sources.wikipedia:
            flags["wikipedia"] = Input(self.sources.wikipedia)
        if self.sources.texts:
            flags["text"] = tuple(map(Input, self.sources.texts))
        return Stage("text", "lineage.text", flags, seconds=20)

    def length(self, system: System, minutes: float) -> int:
        """The updates, or epochs, that a system makes in so many minutes."""
        if self.rates is None:
            return CALIBRATION[system.counted]
        units = max(1, round(minutes * 60 / self.rates[system.name]))
        return min(units, system.most or units)

    def _pace(self, name: str, pretrained: Model) -> float:
        """See System; larger weights of others are slower."""
        paces = {w.path: w.pace for w in self.sources.released.values()}
        path = pretrained.path if isinstance(pretrained, Input) else None
        return paces.get(path, BY_NAME[name].pace)

    def _seconds(self, system: System, minutes: float) -> float:
        """What a pre-training will take."""
        if self.rates is None or not system.counted:
            return 30.0
        return min(self.length(system, minutes) * self.rates[system.name] + 10, 1e6)

    def pretrained(
        self,
        name: str,
        seed: int,
        *,
        records: Flags = NONE,
        pretraining: Flags = NONE,
        config: str | None = None,
        minutes: float | None = None,
        as_vectors: bool = True,
    ) -> Stage:
        """Pre-trains a system.

        Args:
          name: of the system.
          seed: of initial weights and the order of the data; records have one.
          records: flags of create_pretraining_data.py, beside or instead of its own.
          pretraining: flags of the training, as well.
          config: a file of sizes, instead of its own.
          minutes: instead of the setting's.
          as_vectors: whether a system that is its table of words is written as vectors.

        Returns:
          The stage whose folder is the --init_checkpoint of what comes next.
        """
        system = BY_NAME[name]
        if system.base:
            return self._grown(
                system, self.pretrained(system.base, seed, minutes=minutes)
            )
        minutes = self.minutes if minutes is None else minutes
        flags: dict[str, Value] = {"seed": seed, "output_dir": HERE}
        if system.vocabulary is None:
            flags["train_file"] = self.text / system.text
            script, extra = "run_word_vectors.py", {}
        else:
            script = "run_pretraining.py"
            extra = self._records(system, seed, records)
            extra["config_file"] = Input(_config(config or system.config))
            extra["do_train"] = True
        if system.counted:
            units = self.length(system, minutes)
            flags[system.counted] = units
            if system.vocabulary is not None:
                flags["num_warmup_steps"] = round(units * _WARMUP)
        stage = Stage(
            f"{name} pre-training {seed}",
            script,
            {**flags, **extra, **system.pretraining, **pretraining},
            seconds=self._seconds(system, minutes),
        )
        return self._table(system, stage) if system.table and as_vectors else stage

    def _grown(self, system: System, base: Stage) -> Stage:
        """What becomes of the model of another system; it may stay as it is."""
        if system.multitask is None:
            return base
        flags = {
            "task_file": Input(_config("tasks.yml")),
            "data_dir": Input(self.sources.data_dir),
            "init_checkpoint": base.folder,
            "output_dir": HERE,
            "do_train": True,
            "seed": base.flags["seed"],
        }
        name = base.name.replace("pre-training", f"{system.name} training")
        return Stage(
            name, "run_multitask.py", {**flags, **system.multitask}, seconds=200
        )

    def short(self, name: str) -> Stage:
        """A short pre-training, whose speed is measured."""
        return dataclasses.replace(self, rates=None).pretrained(
            name, 0, as_vectors=False
        )

    def rates_of(self, names: Sequence[str]) -> Stage:
        """Measures how long updates take in short pre-trainings: / "rates.json"."""
        flags = {
            "names": tuple(names),
            "trained": tuple(self.short(name).folder for name in names),
            "units": tuple(CALIBRATION[BY_NAME[name].counted] for name in names),
            "output_file": HERE / "rates.json",
        }
        return Stage("calibration", "lineage.calibration", flags, seconds=8)

    def _records(self, system: System, seed: int, changes: Flags) -> dict[str, Value]:
        """Makes vocabulary and records; returns the flags of who reads them."""
        text, records_file = self.text / system.text, "train.tfrecord"
        output_file = HERE / records_file
        if system.language:
            text = join(f"{system.language}:", text)
            output_file, records_file = HERE / "train", f"train.{system.language}"
        vocab_file = system.vocab_file
        vocabulary = Stage(
            f"{system.name} vocabulary",
            "create_vocab.py",
            {
                "input_file": text,
                "output_file": HERE / vocab_file,
                **system.vocabulary,
            },
        )
        vocab_file = vocabulary / vocab_file
        made = Stage(
            f"{system.name} records",
            "create_pretraining_data.py",
            {
                "input_file": text,
                "vocab_file": vocab_file,
                "output_file": output_file,
                **system.records,
                **changes,
            },
        )
        return {"input_file": made / records_file, "vocab_file": vocab_file}

    def _table(self, system: System, stage: Stage) -> Stage:
        """Takes a table out of a model, as word vectors."""
        return Stage(
            stage.name.replace("pre-training", "vectors"),
            "convert_checkpoint.py",
            {
                "input_checkpoint": stage.folder,
                "table": system.table,
                "output_path": HERE / "vectors.txt",
                "output_format": "word2vec",
            },
        )

    def data(
        self, task: str, labels: int | None = None, seed: int = 0, prefix: str = ""
    ) -> Stage:
        """The files of a task.

        Args:
          task: bbc, sst2, conll, sts, sick, wordsim or simlex.
          labels: how many are learnt from: of each class of bbc, in all of others;
            None: all.
          seed: of which.
          prefix: stands before each line of texts.txt.

        Returns:
          A stage. Of classifications: / "train.tsv" and "test.tsv" (label, text),
          "texts.txt" of all that may be drawn, a line each, and "rows.json", which of
          these lines train and test have; of taggings "train.txt" and "test.txt" in
          CoNLL's columns; of similarities "sentences.txt" and what is in it.
        """
        flags: dict[str, Value] = {"task": task, "seed": seed, "output_dir": HERE}
        if task in self.sources.pairs:
            flags["source"] = Input(self.sources.pairs[task])
            flags["sentences"] = self.text / "words.txt"
        elif task == "bbc":
            flags["source"] = Input(self.sources.bbc)
        else:
            flags["source"] = Input(f"{self.sources.data_dir}/{FOLDERS[task]}")
        if labels:
            flags["labels"] = labels
        if prefix:
            flags["prefix"] = prefix
        name = f"{task} {labels or 'all'}"
        return Stage(name, "lineage.data", flags, seconds=5)

    def classified(
        self, name: str, pretrained: Model, data: Stage, seed: int, flags: Flags = NONE
    ) -> Stage:
        """Fine-tunes by the system's own recipe: / "predictions.tsv" of the test."""
        fixed = {
            "task_name": "custom",
            "data_dir": data.folder,
            "text_a_column": "text",
            "label_column": "label",
            "init_checkpoint": _checkpoint(pretrained),
            "output_dir": HERE,
            "do_train": True,
            "do_predict": True,
            "seed": seed,
        }
        recipe = {**fixed, **BY_NAME[name].classify, **flags}
        title = f"{name} fine-tuned {data.name} {seed}"
        seconds = costs.tuning(name, data, recipe)
        return Stage(title, "run_classifier.py", recipe, seconds)

    def tagged(
        self, name: str, pretrained: Model, data: Stage, seed: int, flags: Flags = NONE
    ) -> Stage:
        """Trains a tagger by the system's own recipe: / "predictions.tsv"."""
        fixed = {
            "train_file": data / "train.txt",
            "test_file": data / "test.txt",
            "tag_scheme": "IOB1",
            "init_checkpoint": _checkpoint(pretrained),
            "output_dir": HERE,
            "do_train": True,
            "do_predict": True,
            "seed": seed,
        }
        if BY_NAME[name].tag.get("model_type") == "taglm":
            fixed["lm_checkpoint"] = fixed.pop("init_checkpoint")
        recipe = {**fixed, **BY_NAME[name].tag, **flags}
        title = f"{name} fine-tuned {data.name} {seed}"
        seconds = costs.tuning(name, data, recipe)
        return Stage(title, "run_tagger.py", recipe, seconds)

    def line_vectors(
        self, name: str, pretrained: Model, lines: Output, flags: Flags = NONE
    ) -> Stage:
        """A vector for each line of a file: / "vectors.npy", float32 [lines, width]."""
        fixed = {
            "init_checkpoint": _checkpoint(pretrained),
            "input_file": lines,
            "output_file": HERE / "vectors.npy",
        }
        recipe = {**fixed, **BY_NAME[name].frozen, **flags}
        seconds = costs.reading(self._pace(name, pretrained), lines)
        return Stage(f"{name} vectors", "extract_features.py", recipe, seconds)

    def word_vectors(
        self, name: str, pretrained: Model, sentences: Output, layers: str | None = None
    ) -> Stage:
        """Vectors of all words of tokenized sentences.

        Args:
          name: of the system.
          pretrained: its model.
          sentences: a file, a sentence a line, words between spaces.
          layers: of the encoder, as of extract_features.py; default: the last, ELMo's
            all beside each other.

        Returns:
          A stage: / "vectors.npy", float32 [words of all lines, width]; with several
          layers [words, layers, width].
        """
        flags = {
            "init_checkpoint": _checkpoint(pretrained),
            "sentences": sentences,
            "output_file": HERE / "vectors.npy",
        }
        if layers:
            flags["layers"] = layers
        seconds = costs.reading(self._pace(name, pretrained), sentences)
        return Stage(f"{name} word vectors", "lineage.words", flags, seconds)


def _checkpoint(pretrained: Model) -> Value:
    """What --init_checkpoint gets."""
    return pretrained.folder if isinstance(pretrained, Stage) else pretrained


def _config(name: str) -> str:
    """A config by its name in configs/lineage, or by its path."""
    return name if "/" in name else str(ROOT / "configs/lineage" / name)
