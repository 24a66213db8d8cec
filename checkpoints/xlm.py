"""XLM's names of tensors, its folders, and the parent's files.

    {model: tensors, params: sizes and languages, dico_id2word, dico_counts, ...}

is what facebookresearch/XLM saves with torch; a run on several GPUs writes `module.`
before each name. Hugging Face's names are the same after `transformer.`.
"""

from checkpoints.mapping import Field, Rule, Table, transpose
from modeling.xlm import SCOPE

WORDS = f"{SCOPE}/embeddings/word_embeddings"
POSITIONS = f"{SCOPE}/embeddings/position_embeddings"
LANGUAGES = f"{SCOPE}/embeddings/language_embeddings"
OUTPUT_WEIGHTS, OUTPUT_BIAS = "pred_layer/W", "pred_layer/b"
VOCAB_TENSORS = frozenset({WORDS, OUTPUT_WEIGHTS, OUTPUT_BIAS})
_LAYER = f"{SCOPE}/encoder/layer_{{n}}/"


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


_RULES = [
    Rule("{t}embeddings.weight", WORDS),
    Rule("{t}position_embeddings.weight", POSITIONS),
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
    Rule("{m}pred_layer.proj.bias", OUTPUT_BIAS),
]


def table(shared: bool, sinusoidal: bool) -> Table:
    """Returns the table of models.

    Args:
      shared: whether the output's weights are the embeddings of the words.
      sinusoidal: whether the positions are computed; files have them all the same.
    """
    rules = [
        Rule("{m}pred_layer.proj.weight", WORDS if shared else OUTPUT_WEIGHTS),
        *_RULES,
    ]
    ignored = {r"(transformer\.)?position_ids": "a buffer: 0, 1, 2 ..."}
    if sinusoidal:
        rules = [rule for rule in rules if rule.ours != POSITIONS]
        ignored[r".*position_embeddings\.weight"] = "sines and cosines are computed"
    # The words' own name is the first choice.
    rules.sort(key=lambda rule: rule.theirs.startswith("{m}"))
    fields = {
        "t": Field(r"(?:module\.)?(?:transformer\.)?", "transformer."),
        "m": Field(r"(?:module\.)?"),
        "n": Field(r"\d+"),
    }
    return Table(rules, fields, ignored)
