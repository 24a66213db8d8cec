"""Which systems there are: an entry each, where everything else looks things up.

An entry names what belongs to a system as "module:attribute", which is imported when it
is asked for; so this module stands below all others, and a run imports the modules of
its own system alone.
"""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from errors import UserError

# Ability -> what a system without it does not do, and the script that asks for it.
ABILITIES = {
    "classifies": ("classify", "run_classifier.py"),
    "shares": ("learn several tasks at once", "run_multitask.py"),
    "answers": ("answer questions", "run_squad.py"),
    "tags": ("tag", "run_tagger.py"),
    "learns": ("learn a vocabulary", "create_vocab.py"),
    "makes_records": ("make records", "create_pretraining_data.py"),
    "pretrains": ("pre-train", "run_pretraining.py"),
    "extracts": ("give features", "extract_features.py"),
    "generates": ("generate", "generate.py"),
    "formats": ("have another format", "convert_checkpoint.py"),
}

# What run_word_vectors.py trains -> its training.word_vectors.learner.Learner. They are
# no systems: what comes of them is a file, which a system may read.
VECTOR_LEARNERS = {
    "word2vec": "training.word_vectors.word2vec:Word2vec",
    "glove": "training.word_vectors.glove:Glove",
    "svd": "training.word_vectors.svd:Svd",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """What belongs to a system, each as "module:attribute"; None: it has no such thing.

    Attributes:
      model_type: the system's name, as --model_type takes it.
      config: the class of its architecture.
      system: the subclass of systems.system.System.
      marks: the keys of which its configs have one, in its own form or in others'; a
        config whose "model_type" is the system's name needs none.
      files: the module of `checkpoints` for its training folders, or an OwnFolders.
      reads: the flags that it reads, of those that not every system does.
      classifies: its systems.capabilities.Classifies.
      shares: its systems.capabilities.Shares.
      answers: its systems.capabilities.Answers.
      tags: its systems.capabilities.Tags.
      begins: the function that makes a new system for a training text, as
        systems.taglm.begin: of its config or None, the text's words, and by their
        names those flags of `reads` that the script has; `word_vectors` is also an
        --init_checkpoint that holds such. None: the system begins with a checkpoint, or
        a config and a vocabulary.
      extracts: its systems.capabilities.Extracts.
      generates: its systems.capabilities.Generates.
      learns: the subclass of data_pipeline.corpora.learners.Learner.
      makes_records: the subclass of data_pipeline.corpora.makers.RecordMaker.
      pretrains: the subclass of tasks.pretraining.PretrainingTask.
      formats: the checkpoints.foreign.Format of others' files that it can be in.
    """

    model_type: str
    config: str
    system: str
    files: str
    marks: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    classifies: str | None = None
    shares: str | None = None
    answers: str | None = None
    tags: str | None = None
    begins: str | None = None
    extracts: str | None = None
    generates: str | None = None
    learns: str | None = None
    makes_records: str | None = None
    pretrains: str | None = None
    formats: tuple[str, ...] = ()

    def load(self, name: str) -> Any:
        """Imports what an attribute names: all of several names, None of none."""
        reference = getattr(self, name)
        if isinstance(reference, tuple):
            return tuple(map(_load, reference))
        return reference and _load(reference)


def _load(reference):
    module, _, attribute = reference.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


_ENTRIES: dict[str, Entry] = {}


def register(entry: Entry) -> None:
    """Adds a system.

    Raises:
      ValueError: there is one of this name.
    """
    if entry.model_type in _ENTRIES:
        raise ValueError(f"model_type {entry.model_type} is registered twice")
    _ENTRIES[entry.model_type] = entry


def entries() -> Iterator[Entry]:
    """Yields all entries, in the order in which they were registered."""
    yield from _ENTRIES.values()


def model_types(ability: str | None = None) -> list[str]:
    """Returns the names of the systems, or of those that have an ability."""
    return [
        entry.model_type
        for entry in entries()
        if ability is None or getattr(entry, ability)
    ]


def find(model_type: str) -> Entry:
    """Returns a system's entry."""
    return _ENTRIES[model_type]


def of_config(config: Any) -> Entry:
    """Returns the entry of the system that an architecture is of."""
    kind = type(config)
    reference = f"{kind.__module__}:{kind.__qualname__}"
    return next(entry for entry in entries() if entry.config == reference)


def of_values(values: Mapping[str, Any]) -> Entry:
    """Returns the entry of the system that a config is of, by its JSON values.

    The parent's configs have no mark: what is nobody else's is of the first, BERT.
    """
    first, *others = entries()
    for entry in others:
        named = values.get("model_type") == entry.model_type
        if named or entry.marks & values.keys():
            return entry
    return first


def need(model_type: str, ability: str) -> Any:
    """Imports what a system has for an ability.

    Args:
      model_type: the system.
      ability: a key of ABILITIES.

    Raises:
      UserError: it has nothing; names the systems that have.
    """
    entry = find(model_type)
    if not getattr(entry, ability):
        verb, script = ABILITIES[ability]
        raise UserError(
            f"{model_type} does not {verb}: {script} takes "
            + ", ".join(sorted(model_types(ability)))
        )
    return entry.load(ability)


def vector_learners() -> dict[str, type]:
    """Imports what learns word vectors: name -> class."""
    return {name: _load(reference) for name, reference in VECTOR_LEARNERS.items()}


def readers(flag: str) -> list[str]:
    """Returns the names of the systems that read a flag which not every system does."""
    return sorted(entry.model_type for entry in entries() if flag in entry.reads)


def unread(model_type: str) -> dict[str, list[str]]:
    """Returns the flags that a system does not read, and which systems do."""
    flags = set().union(*(e.reads for e in entries())) - find(model_type).reads
    return {flag: readers(flag) for flag in sorted(flags)}


register(
    Entry(
        "bert",
        config="modeling.bert_config:BertConfig",
        system="systems.bert:BertSystem",
        files="checkpoints.google_bert",
        reads=frozenset(
            {"do_lower_case", "layer_decay", "resize_vocab", "max_predictions_per_seq"}
            | {"pooling", "long", "mask_cls_sep", "attentions", "layer_mix"}
        ),
        classifies="systems.bert:BertClassification",
        shares="systems.bert:BertSharing",
        answers="systems.bert:BertAnswers",
        tags="systems.bert:BertTagging",
        extracts="systems.bert:BertLines",
        learns="data_pipeline.corpora.learners:WordPieces",
        makes_records="data_pipeline.corpora.makers:Pairs",
        pretrains="tasks.language_model:MaskedLanguageModelTask",
        formats=(
            "checkpoints.google_bert:FORMAT",
            "checkpoints.mt_dnn:FORMAT",
            "checkpoints.e5_q4:FORMAT",
            "checkpoints.huggingface:FORMAT",
        ),
    )
)
register(
    Entry(
        "gpt",
        config="modeling.gpt_config:GptConfig",
        system="systems.gpt:GptSystem",
        files="checkpoints.gpt",
        marks=frozenset({"n_vocab", "n_embd"}),
        reads=frozenset(
            {"do_lower_case", "layer_decay", "resize_vocab", "ngram_baseline"}
            | {"lm_coef", "symmetric", "pooling", "long", "attentions", "layer_mix"}
        ),
        classifies="systems.gpt:GptClassification",
        answers="systems.gpt:GptAnswers",
        tags="systems.gpt:GptTagging",
        extracts="systems.gpt:GptLines",
        generates="systems.gpt:GptGeneration",
        learns="data_pipeline.corpora.learners:BytePairs",
        makes_records="data_pipeline.corpora.makers:TokenStreams",
        pretrains="tasks.causal_language_model:CausalLanguageModelTask",
        formats=("checkpoints.huggingface_gpt:FORMAT", "checkpoints.openai_gpt:FORMAT"),
    )
)
register(
    Entry(
        "elmo",
        config="modeling.elmo_config:ElmoConfig",
        system="systems.elmo:ElmoSystem",
        files="checkpoints.bilm",
        marks=frozenset({"lstm"}),
        reads=frozenset(
            {"ngram_baseline", "unroll_steps", "state_reset", "stateful"}
            | {"tokenizer", "segmenter", "pooling"}
        ),
        classifies="systems.elmo:ElmoClassification",
        tags="systems.elmo:ElmoTagging",
        extracts="systems.elmo:ElmoWords",
        learns="data_pipeline.corpora.learners:WholeWords",
        makes_records="data_pipeline.corpora.makers:Sentences",
        pretrains="tasks.bidirectional_language_model:BidirectionalLanguageModelTask",
        formats=("checkpoints.bilm:FORMAT", "checkpoints.elmoformanylangs:FORMAT"),
    )
)
register(
    Entry(
        "taglm",
        config="modeling.taglm:TaglmConfig",
        system="systems.taglm:TaglmSystem",
        files="checkpoints.taglm:FILES",
        reads=frozenset(
            {"do_lower_case", "word_vectors", "lm_checkpoint", "tokenizer"}
            | {"segmenter"}
        ),
        tags="systems.taglm:TaglmTagging",
        begins="systems.taglm:begin",
    )
)
register(
    Entry(
        "ulmfit",
        config="modeling.ulmfit:UlmfitConfig",
        system="systems.ulmfit:UlmfitSystem",
        files="checkpoints.ulmfit:FILES",
        reads=frozenset(
            {"layer_decay", "resize_vocab", "ngram_baseline", "state_reset", "backward"}
            | {"gradual_unfreezing", "pooling", "long", "segmenter"}
        ),
        classifies="systems.ulmfit:UlmfitClassification",
        tags="systems.ulmfit:UlmfitTagging",
        extracts="systems.ulmfit:UlmfitLines",
        generates="systems.ulmfit:UlmfitGeneration",
        learns="data_pipeline.corpora.learners:MarkedWords",
        makes_records="data_pipeline.corpora.makers:Documents",
        pretrains="tasks.ulmfit:UlmfitTask",
        formats=("checkpoints.ulmfit:FORMAT",),
    )
)
register(
    Entry(
        "nnlm",
        config="modeling.nnlm:NnlmConfig",
        system="systems.nnlm:NnlmSystem",
        files="checkpoints.nnlm:FILES",
        reads=frozenset({"ngram_baseline", "tokenizer", "segmenter"}),
        learns="data_pipeline.corpora.learners:WholeWords",
        makes_records="data_pipeline.corpora.makers:Sentences",
        pretrains="tasks.nnlm:NnlmTask",
    )
)
register(
    Entry(
        "vectors",
        config="modeling.vectors:VectorsConfig",
        system="systems.vectors:VectorsSystem",
        files="checkpoints.vectors:FILES",
        reads=frozenset(
            {"reader", "channels", "tokenizer", "segmenter", "max_vocab"}
            | {"layer_decay", "pooling", "word_weighting"}
        ),
        classifies="systems.vectors:VectorsClassification",
        tags="systems.vectors:VectorsTagging",
        begins="systems.vectors:begin",
        extracts="systems.vectors:VectorsLines",
        formats=("checkpoints.vectors:FORMAT",),
    )
)
register(
    Entry(
        "xlm",
        config="modeling.xlm:XlmConfig",
        system="systems.xlm:XlmSystem",
        files="checkpoints.xlm:FILES",
        reads=frozenset(
            {"do_lower_case", "layer_decay", "pooling", "long", "mask_cls_sep"}
            | {"clm_steps", "mlm_steps", "lambda_clm", "lambda_mlm"}
            | {"attentions", "layer_mix"}
            | {"lg_sampling_factor", "sample_alpha"}
        ),
        classifies="systems.xlm:XlmClassification",
        answers="systems.xlm:XlmAnswers",
        tags="systems.xlm:XlmTagging",
        extracts="systems.xlm:XlmLines",
        learns="data_pipeline.corpora.learners:LanguageBytePairs",
        makes_records="data_pipeline.corpora.makers:LanguageStreams",
        pretrains="tasks.xlm:XlmPretrainingTask",
        formats=("checkpoints.xlm:FORMAT", "checkpoints.huggingface_xlm:FORMAT"),
    )
)
