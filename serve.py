"""Serves the vectors of texts, to bert-as-service's clients and over HTTP.

python serve.py --model_dir=all-MiniLM-L6-v2 --pooling_layer=-1 --http_port=8125
python serve.py -model_dir uncased_L-12_H-768_A-12 -max_seq_len 40

Flags and their defaults are those of bert-serving-start 1.10.0, with one dash or two.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import startup

import tensorflow as tf
from absl import flags, logging

import checkpoints
import common_flags
import model_flags
from data_pipeline.features import lines
from errors import MissingExtra, UserError
from inference import trained
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from modeling.layers import pooling
from serving import server, works
from serving.engine import Limits
from serving.service import Admission, Service
from systems.system import System
from training.strategy import make_strategy

FLAGS = flags.FLAGS
# bert-as-service's numbers, which its clients are told.
STRATEGIES = {
    "NONE": 0,
    "REDUCE_MAX": 1,
    "REDUCE_MEAN": 2,
    "REDUCE_MEAN_MAX": 3,
    "FIRST_TOKEN": 4,
    "CLS_TOKEN": 4,
    "LAST_TOKEN": 5,
    "SEP_TOKEN": 5,
    "CLS_POOLED": 6,
}
PORTS = ("port", "port_out", "http_port")
_WORKERS = 4  # by default at most: one text has an n-th of the cores
_LONGEST = 512  # units, of -max_seq_len NONE where the model has no limit

model_flags.define_model_flags()
common_flags.define_distribution_flags()
common_flags.define_precision_flag()
model_flags.define_word_flags()
model_flags.define_word_rule_flags()
model_flags.define_language_flag()
flags.DEFINE_alias("model_dir", "init_checkpoint")
flags.DEFINE_string(
    "tuned_model_dir", None, "Weights; config and vocabulary are then -model_dir's."
)
flags.DEFINE_string("ckpt_name", None, "The checkpoint in the folder, by its prefix.")
flags.DEFINE_string("config_name", None, "The config in -model_dir.")
flags.DEFINE_string(
    "max_seq_len", "25", "Pieces of the longest text; NONE: of a request's longest."
)
flags.DEFINE_bool("cased_tokenization", False, "As --do_lower_case=false.")
flags.DEFINE_list(
    "pooling_layer",
    None,
    "The encoder's layers, one vector after the other; -1 is the last. Default: -2; "
    "the last, where a system's default has no such layer.",
)
flags.DEFINE_enum(
    "pooling_strategy",
    "REDUCE_MEAN",
    list(STRATEGIES),
    "One vector a text. NONE: a vector a piece, or a word.",
    case_sensitive=False,
)
flags.DEFINE_bool(
    "mask_cls_sep",
    False,
    "Whether [CLS] and [SEP] are masked: neither pooled, nor seen by attention.",
)
flags.DEFINE_bool(
    "show_tokens_to_client", False, "Whether clients can ask for the tokens."
)
flags.DEFINE_bool(
    "fixed_embed_length",
    False,
    "With -max_seq_len NONE and -pooling_strategy NONE: whether all answers are as "
    "long as the longest text that the model can read.",
)
flags.DEFINE_bool("normalize", False, "Whether to scale every vector to length 1.")
flags.DEFINE_integer("port", 5555, "Where clients send to.", 1, 65535)
flags.DEFINE_alias("port_in", "port")
flags.DEFINE_alias("port_data", "port")
flags.DEFINE_integer("port_out", 5556, "Where clients get answers from.", 1, 65535)
flags.DEFINE_alias("port_result", "port_out")
flags.DEFINE_integer("http_port", None, "Where HTTP is served. Default: nowhere.", 1)
flags.DEFINE_string("cors", "*", "The origin whose pages may ask over HTTP; *: any.")
flags.DEFINE_string(
    "served_model_name", None, "The model's name over HTTP. Default: its folder's."
)
flags.DEFINE_string(
    "api_key_file",
    None,
    "Keys, one a line: requests over HTTP, but of probes, must bear one.",
)
flags.DEFINE_string(
    "host", "127.0.0.1", "The address to be reached at; 0.0.0.0: from other machines."
)
flags.DEFINE_integer(
    "num_worker",
    None,
    "Threads that compute, which share the cores. Default: one a core, 4 at most; one "
    "with GPUs.",
    1,
)
flags.DEFINE_integer("max_batch_size", 256, "Texts computed together.", 1)
flags.DEFINE_integer(
    "max_batch_tokens", 2048, "Texts times their padded length, computed together.", 1
)
flags.DEFINE_integer(
    "priority_batch_size",
    16,
    "Texts of the largest request that overtakes larger ones, for a second.",
    1,
)
flags.DEFINE_integer("max_request_texts", 8192, "Texts of the largest request.", 1)
flags.DEFINE_integer(
    "max_request_bytes", 16 << 20, "Bytes of the largest request.", 1024
)
flags.DEFINE_integer(
    "max_waiting_texts",
    16384,
    "Texts that have come and are not answered; clients wait beyond it.",
    1,
)
flags.DEFINE_bool("fp16", False, "As --mixed_precision=float16, answers too.")
flags.DEFINE_bool("cpu", False, "Whether to leave GPUs alone.")
flags.DEFINE_bool(
    "remote_termination",
    False,
    "Whether bert-serving-terminate may end the server from other machines.",
)
flags.DEFINE_string(
    "server_version", "1.10.0", "What clients are told, which refuse any but theirs."
)
# Of bert-serving-start: taken, and without effect; why.
WITHOUT_EFFECT = {
    "graph_tmp_dir": "no graph is written to disk",
    "gpu_memory_fraction": "one process has the GPUs",
    "device_map": "--distribution_strategy=mirrored computes on all GPUs",
    "prefetch_size": "texts are queued, not prefetched",
    "xla": "what XLA makes faster is always compiled",
    "http_max_connect": "--max_waiting_texts limits what is waiting",
    "verbose": "--verbosity=1 is absl's",
}
# Of bert-serving-start: refused; why.
REFUSED = {
    "no_special_token": "encoders are trained with special pieces around their texts; "
    "-mask_cls_sep leaves them out of attention and of the pool",
    "no_position_embeddings": "an encoder without its positions is another one than "
    "was trained",
}
flags.DEFINE_string("graph_tmp_dir", None, "Without effect.")
flags.DEFINE_float("gpu_memory_fraction", 0.5, "Without effect.")
flags.DEFINE_list("device_map", [], "Without effect.")
flags.DEFINE_integer("prefetch_size", 10, "Without effect.")
flags.DEFINE_bool("xla", False, "Without effect.")
flags.DEFINE_integer("http_max_connect", 10, "Without effect.")
flags.DEFINE_bool("verbose", False, "Without effect.")
flags.DEFINE_bool("no_special_token", False, "Refused.")
flags.DEFINE_bool("no_position_embeddings", False, "Refused.")


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    for flag, why in REFUSED.items():
        if FLAGS[flag].value:
            yield f"-{flag}: {why}"
    length = FLAGS.max_seq_len
    if length != "NONE" and not (length.isdecimal() and 3 < int(length) < 1 << 20):
        yield f"-max_seq_len={length}: wanted a number above 3, or NONE"
    layers = FLAGS.pooling_layer or ()
    if not all(layer.removeprefix("-").isdecimal() for layer in layers):
        yield f"-pooling_layer={','.join(layers)}: wanted whole numbers, as in -1,-2"
    ports = {}
    for flag in PORTS:
        other = ports.setdefault(FLAGS[flag].value, flag)
        if other != flag and FLAGS[flag].value:
            yield f"-{other} and -{flag} are both {FLAGS[flag].value}"
    for flag in ("cors", "served_model_name", "api_key_file"):
        if FLAGS[flag].present and not FLAGS.http_port:
            yield f"--{flag} is of HTTP, which only -http_port serves"
    if FLAGS.fp16 and FLAGS.mixed_precision not in ("off", "float16"):
        yield f"-fp16 and --mixed_precision={FLAGS.mixed_precision} exclude each other"
    if FLAGS.fixed_embed_length and length != "NONE":
        yield "-fixed_embed_length is for -max_seq_len NONE: else all are that long"
    if (FLAGS.num_worker or 1) > 1 and FLAGS.distribution_strategy != "off":
        yield (
            f"-num_worker={FLAGS.num_worker}, but "
            f"--distribution_strategy={FLAGS.distribution_strategy} computes one batch "
            "after the other on all devices; wanted 1"
        )
    if FLAGS.max_waiting_texts < FLAGS.max_request_texts:
        yield (
            f"--max_waiting_texts={FLAGS.max_waiting_texts} is less than "
            f"--max_request_texts={FLAGS.max_request_texts}"
        )


def find_system() -> System:
    """Opens -model_dir under bert-as-service's flags for its files."""
    folder = FLAGS.init_checkpoint
    if FLAGS.cased_tokenization:
        FLAGS["do_lower_case"].parse("false")
    if FLAGS.config_name or FLAGS.tuned_model_dir:
        name = FLAGS.config_name or "bert_config.json"
        FLAGS.bert_config_file = os.path.join(folder, name)
    if FLAGS.tuned_model_dir:
        FLAGS.vocab_file = FLAGS.vocab_file or os.path.join(folder, "vocab.txt")
        FLAGS.init_checkpoint = FLAGS.tuned_model_dir
    if FLAGS.ckpt_name:
        path = os.path.join(FLAGS.init_checkpoint, FLAGS.ckpt_name)
        FLAGS.init_checkpoint = path
    return model_flags.in_language(model_flags.system("extracts"))


def longest_text(system: System) -> int:
    """Returns how many units a text can have."""
    name, longest = system.max_length or (None, None)
    if FLAGS.max_seq_len == "NONE":
        return longest or _LONGEST
    wanted = int(FLAGS.max_seq_len)
    if longest and wanted > longest:
        raise UserError(
            f"-max_seq_len={wanted}, but the model has only {name}={longest}"
        )
    return wanted


def extraction_config(system: System) -> ExtractionConfig:
    """Reads which vectors are wanted."""
    extracts = system.need("extracts")
    strategy = FLAGS.pooling_strategy
    pooled = pooling.strategy_name(strategy)
    if STRATEGIES[strategy] == STRATEGIES["CLS_TOKEN"]:
        pooled = "cls" if extracts.has_cls else "first"
    layers = FLAGS.pooling_layer
    if pooled == "cls_pooled":
        layers = None  # the original reads none then
    elif layers:
        layers = tuple(map(int, layers))
    else:
        has_it = -2 in extracts.default_layers and extracts.depth > 1
        layers = (-2,) if has_it else (-1,)
    return ExtractionConfig(
        pooling=pooled,
        layers=layers,
        layer_combination=None if pooled == "cls_pooled" else "concat",
        mask_cls_sep=FLAGS.mask_cls_sep,
        hide_cls_sep=FLAGS.mask_cls_sep,
        normalize=FLAGS.normalize,
        max_seq_length=longest_text(system),
        mixed_precision="float16" if FLAGS.fp16 else FLAGS.mixed_precision,
    )


def settings() -> dict[str, object]:
    """Returns the flags as bert-as-service tells them to clients."""
    length = FLAGS.max_seq_len
    told = {
        "model_dir": FLAGS.init_checkpoint,
        "max_seq_len": None if length == "NONE" else int(length),
        "pooling_strategy": STRATEGIES[FLAGS.pooling_strategy],
        "pooling_layer": [int(layer) for layer in FLAGS.pooling_layer or (-2,)],
    }
    as_they_are = (
        "tuned_model_dir ckpt_name config_name cased_tokenization mask_cls_sep "
        "show_tokens_to_client fixed_embed_length port port_out num_worker "
        "max_batch_size priority_batch_size cpu fp16 server_version http_port cors "
        + " ".join(WITHOUT_EFFECT)
    )
    return {**{name: FLAGS[name].value for name in as_they_are.split()}, **told}


def num_workers() -> int:
    """Returns how many threads compute; before TensorFlow computes anything.

    Operations are spread over each one's share of the cores, unless the environment
    says otherwise.
    """
    cores = len(os.sched_getaffinity(0))
    on_cores = FLAGS.distribution_strategy == "off" and not FLAGS.use_tpu
    if tf.config.get_visible_devices("GPU"):
        on_cores = False
    number = FLAGS.num_worker or (min(cores, _WORKERS) if on_cores else 1)
    if "TF_NUM_INTRAOP_THREADS" not in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // number))
    return number


def find_answers(system: System) -> works.Answers | None:
    """Makes what the folder's task does; None where it has none."""
    folder = FLAGS.init_checkpoint
    if not tf.io.gfile.isdir(folder):
        return None
    checkpoint = checkpoints.open_checkpoint(folder)
    if trained.find_task(checkpoint, folder) is None:
        return None
    mixed = "float16" if FLAGS.fp16 else FLAGS.mixed_precision
    dtype = "float32" if mixed == "off" else f"mixed_{mixed}"
    told = {"do_lower_case": system.do_lower_case, "language": FLAGS.language}
    found = trained.load_task(checkpoint, folder, dtype=dtype, **told)
    return works.Answers(*found, FLAGS.max_batch_tokens)


def api_keys() -> list[str]:
    """Reads --api_key_file."""
    path = FLAGS.api_key_file
    if not path:
        return []
    keys = [line for line in lines.read_lines(path) if line]
    if not keys:
        raise UserError(f"--api_key_file={path}: there is no key in it")
    return keys


def model_name() -> str:
    """Returns the name that the model goes by."""
    path = os.path.abspath(FLAGS.init_checkpoint)
    return FLAGS.served_model_name or os.path.basename(path)


def spread(words: Sequence[str]) -> list[str]:
    """Returns a command line with `-pooling_layer -4 -3` as absl reads it."""
    found, layers = [], None
    for word in words:
        if word in ("-pooling_layer", "--pooling_layer"):
            layers = len(found)
            found.append("--pooling_layer=")
        elif layers is not None and word.removeprefix("-").isdecimal():
            comma = "" if found[layers].endswith("=") else ","
            found[layers] += comma + word
        else:
            layers = None
            found.append(word)
    return found


def main(_) -> None:
    """Reads the flags, loads the model and serves."""
    try:
        from uvloop import run as run_loop  # 32 clients over HTTP: 1.4 x the texts/s
    except ModuleNotFoundError:  # it is not for Windows
        from asyncio import run as run_loop
    try:
        from serving import http, zmq_wire
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f'serve.py needs the package {error.name}: pip install "word2bert[serve]"'
        ) from error
    for flag in PORTS:
        if FLAGS[flag].value:
            server.check_free(FLAGS.host, FLAGS[flag].value, flag)
    for flag, reason in WITHOUT_EFFECT.items():
        if FLAGS[flag].present:
            logging.warning("-%s has no effect here: %s", flag, reason)
    if FLAGS.cpu:
        tf.config.set_visible_devices([], "GPU")
    workers = num_workers()
    told = settings() | {"num_worker": workers}
    keys, name = api_keys(), model_name()
    system = find_system()
    config = extraction_config(system)
    answers = find_answers(system)
    strategy = make_strategy(common_flags.distribution_config())
    alone = answers is None or strategy.num_replicas_in_sync > 1
    shared = None if alone else answers.variables
    extractor = FeatureExtractor(config, system, strategy=strategy, shared=shared)
    one_length = FLAGS.max_seq_len != "NONE" or FLAGS.fixed_embed_length
    vectors = works.Vectors(
        extractor,
        fixed_length=config.max_seq_length if one_length else None,
        dtype="float16" if FLAGS.fp16 else "float32",
    )
    limits = Limits(
        FLAGS.max_batch_size, FLAGS.max_batch_tokens, FLAGS.priority_batch_size
    )
    admission = Admission(
        FLAGS.max_request_texts, FLAGS.max_request_bytes, FLAGS.max_waiting_texts
    )

    async def run():
        service = Service(
            vectors,
            limits,
            admission,
            settings=told,
            answers=answers,
            num_workers=workers,
        )
        fronts = [
            zmq_wire.Wire(
                service,
                host=FLAGS.host,
                port=FLAGS.port,
                port_out=FLAGS.port_out,
                show_tokens=FLAGS.show_tokens_to_client,
                remote_termination=FLAGS.remote_termination,
            )
        ]
        if FLAGS.http_port:
            over_http = {"host": FLAGS.host, "port": FLAGS.http_port, "model": name}
            over_http |= {"keys": keys, "cors": FLAGS.cors}
            fronts.append(http.Http(service, **over_http))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, service.stopping.set)
        logging.info(
            "ready: %s at %s, %s",
            name,
            FLAGS.host,
            ", ".join(f"-{f} {FLAGS[f].value}" for f in PORTS if FLAGS[f].value),
        )
        await server.serve(service, fronts)

    # Threads of the event loop and of computing take turns at 5 ms else.
    sys.setswitchinterval(0.0005)
    run_loop(run())


if __name__ == "__main__":
    if sys.argv[1:] in (["-version"], ["--version"]):
        version = FLAGS["server_version"].default
        print(f"bert-as-service {version}, TensorFlow {tf.__version__}")
        sys.exit()
    sys.argv = spread(sys.argv)
    startup.run(main, check_flags, required=["init_checkpoint"])
