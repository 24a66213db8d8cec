"""What bert-as-service counts of its requests, under its names.

Xiao 2018, server/statistic.py of bert-as-service 1.10.0.
"""

import collections
import time
from collections.abc import Callable, Mapping

_ACTIVE = 180  # seconds since a client's last request
_CLIENTS, _INTERVALS = 500, 200  # the most that are remembered


class Statistics:
    """Counts requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Begins with none."""
        self._clock = clock
        self._data = self._system = self._texts = self._clients = 0
        self._seen: collections.OrderedDict[bytes, float] = collections.OrderedDict()
        self._requests: collections.Counter[bytes] = collections.Counter()
        self._sizes: collections.Counter[int] = collections.Counter()
        self._times: collections.deque[float] = collections.deque(maxlen=_INTERVALS + 1)

    def count(self, client: bytes, texts: int | None) -> None:
        """Counts a request.

        Args:
          client: who asks; of those that are long silent only the number is known.
          texts: how many; None: it is a question about the server.
        """
        now = self._clock()
        self._clients += client not in self._seen
        self._seen[client] = now
        self._seen.move_to_end(client)
        while len(self._seen) > _CLIENTS:
            gone, _ = self._seen.popitem(last=False)
            del self._requests[gone]
        self._requests[client] += texts is not None
        if texts is None:
            self._system += 1
            return
        self._data += 1
        self._texts += texts
        self._sizes[min(texts, 1 << 20)] += 1
        while len(self._sizes) > _CLIENTS:
            del self._sizes[min(self._sizes, key=self._sizes.get)]
        self._times.append(now)

    def values(self) -> dict[str, float]:
        """Returns all figures by bert-as-service's names."""
        now = self._clock()
        times = list(self._times)
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        return {
            "num_data_request": self._data,
            "num_total_seq": self._texts,
            "num_sys_request": self._system,
            "num_total_request": self._data + self._system,
            "num_total_client": self._clients,
            "num_active_client": sum(now - t < _ACTIVE for t in self._seen.values()),
            **_summary("request_per_client", +self._requests),
            **_summary("size_per_request", self._sizes, of_keys=True),
            **_summary("last_two_interval", dict(enumerate(gaps))),
            **_summary(
                "request_per_second", {i: 1 / g for i, g in enumerate(gaps) if g > 0}
            ),
        }


def _summary(name: str, values: Mapping, *, of_keys: bool = False) -> dict[str, float]:
    """Mean, least and most, and how many of these; of a histogram, of its keys."""
    if not values:
        return {}
    weights = values if of_keys else collections.Counter(values.values())
    low, high = min(weights), max(weights)
    mean = sum(key * number for key, number in weights.items()) / sum(weights.values())
    found = {"avg": mean, "min": low, "max": high}
    found |= {"num_min": weights[low], "num_max": weights[high]}
    return {f"{key}_{name}": value for key, value in found.items()}
