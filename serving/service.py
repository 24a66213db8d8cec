"""What the protocols share: who is let in, tokenizing threads, the engine, the counts.

Everything here runs in the event loop's thread, but for what a work does: a request
goes from there to a thread that cuts texts, to the engine's, and back.
"""

import asyncio
import contextlib
import dataclasses
import platform
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from errors import UserError
from serving.engine import Engine, Limits, Stopped
from serving.statistics import Statistics
from serving.works import Answers, Asked, Encoded, Vectors

_READERS = 1  # threads that cut texts: a second one would take turns with it
_FEW = 16  # rows whose values are put together sooner than a thread begins


class TooMany(UserError):
    """A request is larger than any that is taken."""


class Busy(Exception):
    """There is no room for a request now.

    Attributes:
      retry_after: seconds after which there may be.
    """

    def __init__(self, retry_after: int):
        """Says when to come again."""
        super().__init__(f"too many texts are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclasses.dataclass(frozen=True)
class Admission:
    """What is let in.

    Attributes:
      max_request_texts: of one request.
      max_request_bytes: of one request, as it comes.
      max_waiting_texts: of all requests that are not yet answered.
    """

    max_request_texts: int = 8192
    max_request_bytes: int = 16 << 20
    max_waiting_texts: int = 16384


class _Request:
    """What is asked: the future of its rows' values, and how they become an answer."""

    def __init__(self, work, texts):
        self.work, self.texts = work, texts
        self.values: Future = Future()
        self.asked: Asked | None = None  # until the texts are cut

    def fail(self, error):
        if self.values.set_running_or_notify_cancel():  # its client has not left
            self.values.set_exception(error)


class Service:
    """Answers requests, whoever brings them.

    Attributes:
      admission: what is let in.
      engine: computes.
      statistics: bert-as-service's counts.
      stopping: set when the server is to stop.
    """

    def __init__(
        self,
        vectors: Vectors,
        limits: Limits,
        admission: Admission,
        *,
        settings: Mapping[str, Any],
        answers: Answers | None = None,
        num_workers: int = 1,
    ):
        """Compiles what will be computed, and starts the threads.

        Args:
          vectors: what is computed for `encode`.
          limits: how much is computed together.
          admission: what is let in.
          settings: the flags, as they are told to clients.
          answers: what is computed for `answer`, where a trained model is served.
          num_workers: threads that compute.

        Raises:
          UserError: a batch cannot hold the longest text.
        """
        vectors.warm_up(limits)
        if answers:
            answers.warm_up(limits)
        self._vectors, self._answers = vectors, answers
        self.admission, self.statistics = admission, Statistics()
        self.engine = Engine(limits, num_workers)
        self.stopping = asyncio.Event()
        self._threads = ThreadPoolExecutor(_READERS)
        self._unread: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_all, name=f"read_{i}", daemon=True)
            for i in range(_READERS)
        ]
        for reader in self._readers:
            reader.start()
        self._waiting = 0
        self._room = asyncio.Event()
        self._settings = dict(settings)
        self._started = time.strftime("%Y-%m-%d %H:%M:%S")

    @property
    def waiting_texts(self) -> int:
        """Texts that have been let in and are not answered."""
        return self._waiting

    async def wait_for_room(self) -> None:
        """Waits until a request can be let in."""
        while self._waiting >= self.admission.max_waiting_texts:
            self._room.clear()
            await self._room.wait()

    async def encode(
        self, texts: Any, client: bytes, *, insist: bool = False
    ) -> Encoded:
        """Computes vectors.

        Args:
          texts: a list of texts, or of lists of units.
          client: who asks.
          insist: whether it is let in however many texts are waiting; for those who
            have waited for room.

        Raises:
          UserError: they are no such lists.
          TooMany: they are more than are taken.
          Busy: there is no room now.
        """
        check_texts(texts)
        return await self._ask(self._vectors, texts, client, insist)

    @property
    def verb(self) -> str | None:
        """What the trained model does; None where there is none."""
        return self._answers and self._answers.verb

    async def answer(self, texts: Any, client: bytes) -> dict[str, list]:
        """Labels or tags texts, or answers questions; raises as `encode` does.

        Args:
          texts: a list of texts, of pairs, of words or of (question, context).
          client: who asks.
        """
        check_texts(texts)
        return await self._ask(self._answers, texts, client)

    async def tokens(self, texts: Any, client: bytes) -> list[Sequence[str]]:
        """Cuts texts into units, the special ones too; raises as `encode` does."""
        check_texts(texts)
        if not isinstance(texts[0], str):
            raise UserError("texts[0]: got a list; wanted a text")
        with self._let_in(len(texts), client, False):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, self._vectors.tokens, texts
            )

    def units_of_ids(self, rows: Sequence[Sequence[int]]) -> list[list[str]]:
        """Returns the units that ids stand for.

        Raises:
          UserError: there is no such id, or the system has none.
        """
        return self._vectors.units_of_ids(rows)

    async def _ask(self, work, texts, client, insist=False):
        with self._let_in(len(texts), client, insist):
            request = _Request(work, texts)
            self._unread.put(request)
            values = await asyncio.wrap_future(request.values)
            join = request.asked.join
            if len(values) <= _FEW:
                return join(values)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, join, values)

    def _read_all(self):
        """Cuts texts until the end, those together that have come meanwhile."""
        while True:
            taken = [self._unread.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    taken.append(self._unread.get_nowait())
            requests = [request for request in taken if request is not None]
            if len(requests) < len(taken):
                self._unread.put(None)  # the end: for the other threads, too
            if not requests:
                return
            for work in dict.fromkeys(request.work for request in requests):
                self._read(work, [r for r in requests if r.work is work])

    def _read(self, work, requests):
        """Has the texts of requests cut, and queues their rows."""
        try:
            found = work.read([request.texts for request in requests])
        except Exception as error:
            found = [error] * len(requests)
        for request, asked in zip(requests, found, strict=True):
            if isinstance(asked, Exception):
                request.fail(asked)
                continue
            request.asked = asked
            try:
                self.engine.submit(work, asked.rows, asked.lengths, request.values)
            except Stopped as error:
                request.fail(error)

    @contextlib.contextmanager
    def _let_in(self, number, client, insist):
        """The one place where requests are let in, and counted until they end."""
        most = self.admission.max_request_texts
        if number > most:
            raise TooMany(f"got {number} texts; wanted at most {most} in a request")
        if not insist and self._waiting + number > self.admission.max_waiting_texts:
            raise Busy(self._seconds_to_wait())
        self.statistics.count(client, number)
        self._waiting += number
        try:
            yield
        finally:
            self._waiting -= number
            if self._waiting < self.admission.max_waiting_texts:
                self._room.set()

    def _seconds_to_wait(self):
        """What is waiting, at the speed of all that has been computed, in seconds."""
        done = self.engine.counters
        seconds = done.seconds / self.engine.num_threads
        return 1 + round(self._waiting * seconds / max(done.rows, 1))

    def config(self) -> dict[str, Any]:
        """Returns what SHOW_CONFIG tells."""
        import zmq

        inside = "in this process"
        return {
            "num_process": 1,
            "ventilator -> worker": [inside],
            "worker -> sink": inside,
            "ventilator <-> sink": inside,
            "server_current_time": time.strftime("%Y-%m-%d %H:%M:%S"),
            "device_map": [],
            "num_concurrent_socket": 2,
            **self._settings,
            "tensorflow_version": tf.__version__.split("."),
            "python_version": platform.python_version(),
            "pyzmq_version": zmq.pyzmq_version(),
            "zmq_version": zmq.zmq_version(),
            "server_start_time": self._started,
        }

    def status(self) -> dict[str, Any]:
        """Returns what SHOW_STATUS tells."""
        return self.config() | {"statistic": self.statistics.values()}

    def stop(self) -> None:
        """Ends the threads when all that is queued has been computed."""
        self._unread.put(None)
        for reader in self._readers:
            reader.join()
        self.engine.stop()
        self._threads.shutdown()


def check_texts(texts: Any) -> None:
    """Refuses what is neither a list of texts, nor a list of lists of units.

    Raises:
      UserError: says which element is what.
    """
    if not isinstance(texts, list) or not texts:
        raise UserError(f"got {_shown(texts)}; wanted a list of texts, not empty")
    in_units = isinstance(texts[0], list)
    for i, text in enumerate(texts):
        if not in_units:
            _check_text(f"texts[{i}]", text)
            continue
        if not isinstance(text, list) or not text:
            raise UserError(
                f"texts[{i}]: got {_shown(text)}; wanted a list of pieces, as texts[0] "
                "is, not empty"
            )
        for j, unit in enumerate(text):
            _check_text(f"texts[{i}][{j}]", unit)


def _check_text(place: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{place}: got {_shown(text)}; wanted a text, not blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: character {error.start} is half of a surrogate pair; wanted "
            "Unicode text"
        ) from error


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
