"""XLM's names of tensors, its training folders, and the parent's files.

    {model: tensors, params: sizes and languages, dico_id2word: pieces, ...}

is what facebookresearch/XLM saves with torch. The codes are a file of their own, and so
is a vocabulary, which may have more pieces than the model has rows.
"""

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

import tokenization_xlm
from checkpoints import files, state_dicts, torch_files
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Table,
    check_shape,
    transpose,
)
from checkpoints.own_folders import OwnFolders
from checkpoints.word_tables import WordTable
from modeling.xlm import SCOPE, XlmConfig

WORDS = f"{SCOPE}/embeddings/word_embeddings"
POSITIONS = f"{SCOPE}/embeddings/position_embeddings"
LANGUAGES = f"{SCOPE}/embeddings/language_embeddings"
OUTPUT_WEIGHTS, OUTPUT_BIAS = "pred_layer/W", "pred_layer/b"
VOCAB_TENSORS = frozenset({WORDS, OUTPUT_WEIGHTS, OUTPUT_BIAS})
JSON_VOCAB = "vocab.json"
_LAYER = f"{SCOPE}/encoder/layer_{{n}}/"
# Of the parent's params those that are in XlmConfig by the same name.
_SAME = (
    *("n_words", "emb_dim", "n_layers", "n_heads", "dropout", "attention_dropout"),
    *("gelu_activation", "sinusoidal_embeddings", "share_inout_emb", "use_lang_emb"),
)
# Keys with which the model is another one than ours, unless they have this value.
_REQUIRED = {"asm": False, "encoder_only": True, "use_memory": False}


def _dense(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{{t}}{theirs}.weight", f"{_LAYER}{ours}/kernel", transpose, transpose),
        Rule(f"{{t}}{theirs}.bias", f"{_LAYER}{ours}/bias"),
    ]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{{t}}{theirs}.weight", f"{ours}/LayerNorm/gamma"),
        Rule(f"{{t}}{theirs}.bias", f"{ours}/LayerNorm/beta"),
    ]


_RULES = (
    Rule("{t}embeddings.weight", WORDS),
    Rule("{t}lang_embeddings.weight", LANGUAGES),
    *_norm("layer_norm_emb", f"{SCOPE}/embeddings"),
    *_dense("attentions.{n}.q_lin", "attention/self/query"),
    *_dense("attentions.{n}.k_lin", "attention/self/key"),
    *_dense("attentions.{n}.v_lin", "attention/self/value"),
    *_dense("attentions.{n}.out_lin", "attention/output/dense"),
    *_norm("layer_norm1.{n}", f"{_LAYER}attention/output"),
    *_dense("ffns.{n}.lin1", "intermediate/dense"),
    *_dense("ffns.{n}.lin2", "output/dense"),
    *_norm("layer_norm2.{n}", f"{_LAYER}output"),
    Rule("pred_layer.proj.bias", OUTPUT_BIAS),
)
# Of Hugging Face's heads; a tagger's is the only one with this name.
_HEADS = (
    Rule("sequence_summary.summary.weight", "classifier/output_weights"),
    Rule("sequence_summary.summary.bias", "classifier/output_bias"),
    Rule("qa_outputs.weight", "cls/squad/output_weights"),
    Rule("qa_outputs.bias", "cls/squad/output_bias"),
    Rule("classifier.weight", "tagger/emissions/output_weights"),
    Rule("classifier.bias", "tagger/emissions/output_bias"),
)


def table(shared: bool, sinusoidal: bool) -> Table:
    """Returns the table of models; the parent's names lack the `transformer.`.

    Args:
      shared: whether the output's weights are the embeddings of the words.
      sinusoidal: whether the positions are computed; files have them all the same.
    """
    ignored = {r"(transformer\.)?position_ids": "a buffer: 0, 1, 2 ..."}
    rules = [*_RULES, *_HEADS]
    rules.append(Rule("pred_layer.proj.weight", WORDS if shared else OUTPUT_WEIGHTS))
    positions = Rule("{t}position_embeddings.weight", POSITIONS)
    if sinusoidal:
        ignored[r"(transformer\.)?position_embeddings\.weight"] = "computed here"
    else:
        rules.append(positions)
    fields = {
        "t": Field(r"(?:transformer\.)?", "transformer."),
        "n": Field(r"\d+"),
    }
    return Table(rules, fields, ignored)


def of_config(config: XlmConfig) -> Table:
    """Returns the table of an architecture."""
    return table(config.share_inout_emb, config.sinusoidal_embeddings)


def is_parents(path: str) -> bool:
    """Tells a model's file of the parent's from one of the same tensors."""
    if not torch_files.is_torch(files.read_head(path, torch_files.HEAD)):
        return False
    content = torch_files.read(path)
    return type(content) is dict and "params" in content


def open_parents(path: str) -> Checkpoint:
    """Opens a file of the parent's; nothing in it is executed.

    Args:
      path: of torch.save. A vocabulary is looked for beside it: `vocab...`, whose codes
        are beside, too.

    Returns:
      The checkpoint; its names are ours.

    Raises:
      CheckpointError: damaged, another architecture, or a vocabulary that is another
        model's.
    """
    content = torch_files.read(path)
    params, words = (content.get(key) for key in ("params", "dico_id2word"))
    if type(params) is not dict or type(words) is not dict:
        raise CheckpointError(
            f"{path}: wanted XLM's file, with 'params' and 'dico_id2word' beside its "
            "tensors"
        )
    tensors, _ = torch_files.list_tensors(path)
    config = _config(params, words, tensors, path)
    vocab_file = _find_vocab(os.path.dirname(path))
    if vocab_file is not None:
        _check_words(vocab_file, words, path)
    found = state_dicts.open_checkpoint(
        path,
        of_config(config),
        vocab_tensors=VOCAB_TENSORS,
        config=config,
        vocab_file=vocab_file,
        do_lower_case=config.do_lower_case,
        outputs=None,
    )
    return dataclasses.replace(found, format=FORMAT.name)


def _config(
    params: Mapping[str, Any],
    words: Mapping[int, str],
    tensors: Mapping[str, Any],
    path: str,
) -> XlmConfig:
    """Returns the architecture that the parent's params are of."""
    for key, wanted in _REQUIRED.items():
        if params.get(key, wanted) != wanted:
            raise CheckpointError(
                f"{path}: {key} is {params[key]!r}, wanted {wanted!r}: an encoder alone"
            )
    values = {key: params[key] for key in _SAME if key in params}
    positions = tensors.get("position_embeddings.weight")
    if positions is not None:
        values["max_position_embeddings"] = positions.shape[0]
    values["languages"] = language_names(params.get("id2lang"), path)
    values["do_lower_case"] = not is_cased(words.values())
    missing = sorted({"n_words", "emb_dim", "n_layers", "n_heads"} - values.keys())
    if missing:
        raise CheckpointError(f"{path}: params lacks {', '.join(missing)}")
    return XlmConfig.from_dict({"model_type": "xlm", **values}, path)


def language_names(id2lang: Any, path: str) -> list[str]:
    """Returns the names by id, of a mapping whose keys may be texts.

    Raises:
      CheckpointError: it is none, or does not number its languages 0, 1, 2 ...
    """
    wanted = range(len(id2lang)) if isinstance(id2lang, dict) else ()
    by_id = {str(key): name for key, name in id2lang.items()} if wanted else {}
    if not by_id or set(by_id) != set(map(str, wanted)):
        raise CheckpointError(
            f"{path}: id2lang is {id2lang!r}, wanted the languages by their ids, 0 ..."
        )
    return [by_id[str(i)] for i in wanted]


def is_cased(pieces: Collection[str]) -> bool:
    """Tells whether a vocabulary is of text that was not lower-cased."""
    return any(piece != piece.lower() for piece in pieces)


def _find_vocab(folder: str) -> str | None:
    names = [name for name in files.list_names(folder) if name.startswith("vocab")]
    found = [
        os.path.join(folder, name)
        for name in sorted(names)
        if files.find(folder, os.path.basename(tokenization_xlm.codes_beside(name)))
    ]
    if len(found) > 1:
        raise CheckpointError(f"holds {' and '.join(found)}; name one by --vocab_file")
    return found[0] if found else None


def _check_words(vocab_file: str, words: Mapping[int, str], path: str) -> None:
    """Refuses a vocabulary whose first pieces are not the model's own."""
    pieces = tokenization_xlm.BytePairs(vocab_file, len(words)).vocab
    first = len(tokenization_xlm.SPECIAL)
    for i, piece in enumerate(pieces):
        if i >= first and words.get(i) != piece:
            raise CheckpointError(
                f"{vocab_file}: piece {i} is {piece!r}, but {path} has "
                f"{words.get(i)!r}: they do not belong together"
            )
    if len(pieces) < len(words):
        raise CheckpointError(
            f"{vocab_file} has {len(pieces)} pieces, but {path} {len(words)}: they do "
            "not belong together"
        )


class XlmFolders(OwnFolders):
    """Training folders; beside the weights lie `vocab` and `codes`, or JSON's two."""

    def beside(self, folder: str) -> dict[str, Any]:
        """As OwnFolders'."""
        names = (tokenization_xlm.VOCAB, JSON_VOCAB)
        found = super().beside(folder)
        return found | {"vocab_file": files.find_one(folder, names)}

    def check(self, checkpoint: Checkpoint) -> None:
        """Checks that the config is of these weights."""
        config = checkpoint.config
        if config.n_words is not None:
            shape = (config.n_words, config.emb_dim)
            check_shape(checkpoint, WORDS, shape, "n_words and emb_dim")

    def tables(self, config: XlmConfig) -> dict[str, WordTable]:
        """As OwnFolders'; positions and languages go by their numbers."""
        del config
        words = {name: WordTable(name) for name in (WORDS, OUTPUT_WEIGHTS)}
        others = {n: WordTable(n, entries=None) for n in (POSITIONS, LANGUAGES)}
        return words | others

    def save_beside(
        self,
        folder: str,
        config: XlmConfig,
        vocab_file: str | None,
        do_lower_case: bool | None,
    ) -> None:
        """As OwnFolders'; the codes as well."""
        del do_lower_case
        self.save_config(folder, config)
        if vocab_file is not None:
            is_json = vocab_file.endswith(".json")
            name = JSON_VOCAB if is_json else tokenization_xlm.VOCAB
            target = os.path.join(folder, name)
            beside = tokenization_xlm.codes_beside
            files.copy(beside(vocab_file), beside(target))
            files.copy(vocab_file, target)


FILES = XlmFolders("xlm", XlmConfig, VOCAB_TENSORS)
FORMAT = Format(
    "xlm",
    wanted="XLM's models (mlm_tlm_xnli15_1024.pth)",
)
