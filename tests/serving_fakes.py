"""What serves without a model: vectors of texts that a test can work out."""

import asyncio
import contextlib
import threading

import numpy as np

from serving import server
from serving.engine import Limits
from serving.service import Admission, Service
from serving.works import Asked, Encoded

SETTINGS = {
    "max_seq_len": 25,
    "show_tokens_to_client": True,
    "server_version": "1.10.0",
    "pooling_strategy": 2,
}


def vector(text):
    """Returns a text's vector, [3]; of a list of units that of its units."""
    units = text.split() if isinstance(text, str) else text
    letters = "".join(units)
    return np.array([len(units), len(letters), sum(map(ord, letters))], np.float32)


class Vectors:
    """As works.Vectors; computes no faster than it is let.

    Attributes:
      go: set unless a test holds computing up.
      computed: the texts of every batch.
    """

    padding_cost = 1.0

    def __init__(self):
        self.go, self.computed = threading.Event(), []
        self.go.set()

    def warm_up(self, limits):
        """Nothing is compiled."""

    def read(self, requests):
        """Cuts at white space; a row is a text."""
        return [self.asked(texts) for texts in requests]

    def asked(self, texts):
        """Cuts a request."""
        units = [text.split() if isinstance(text, str) else text for text in texts]
        sizes = [len(u) for u in units]

        def join(values):
            return Encoded(np.stack(values), lambda: units, sum(sizes))

        return Asked(texts, [-(-size // 8) * 8 for size in sizes], sum(sizes), join)

    def tokens(self, texts):
        """The words."""
        return [text.split() for text in texts]

    def units_of_ids(self, rows):
        """A number's unit is so many a's."""
        return [["a" * i for i in row] for row in rows]

    def run(self, rows, size):
        """A text that says `fail` fails."""
        self.go.wait(20)
        self.computed.append(list(rows))
        if any("fail" in row for row in rows):
            raise ArithmeticError("no vector for it")
        return [vector(row) for row in rows]


@contextlib.contextmanager
def served(make_fronts, vectors=None, answers=None, **admission):
    """Serves in a thread; yields the fronts, and the service.

    Args:
      make_fronts: from a service to a list of fronts.
      vectors: what computes; Vectors() by default.
      answers: what answers, if anything.
      **admission: see service.Admission.
    """
    ready, found, vectors = threading.Event(), {}, vectors or Vectors()

    async def run():
        limits = Limits(max_batch_size=16, max_batch_tokens=256)
        service = Service(
            vectors, limits, Admission(**admission), settings=SETTINGS, answers=answers
        )
        fronts = make_fronts(service)
        found.update(service=service, fronts=fronts, loop=asyncio.get_running_loop())
        asyncio.get_running_loop().call_soon(ready.set)
        await server.serve(service, fronts)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield found["fronts"], found["service"]
    finally:
        vectors.go.set()
        if thread.is_alive():
            found["loop"].call_soon_threadsafe(found["service"].stopping.set)
        thread.join(20)
        assert not thread.is_alive()
