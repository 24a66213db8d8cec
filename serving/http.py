"""HTTP: bert-as-service's routes, OpenAI's embeddings, and what operators ask for."""

import asyncio
import base64
import contextlib
import hmac
import json
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import prometheus_client
import uvicorn
from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from errors import UserError
from serving import openapi, page
from serving.engine import Stopped
from serving.service import Busy, Service, TooMany

_CLIENT = b"http"  # all of HTTP's clients, in bert-as-service's counts
_CANARY, _CANARY_SECONDS, _FRESH_SECONDS = "ready", 10.0, 1.0
# Routes that need no key: probes have none, and a browser shows the page before one.
_OPEN = frozenset({"/live", "/ready", "/"})
_LONGEST_IDS = 1 << 31


class _Error(Exception):
    """What a request is answered with instead.

    Attributes:
      status: HTTP's.
      param: which field of the request is wrong.
      code: OpenAI's word for it.
      headers: of the response.
    """

    def __init__(self, status, message, *, param=None, code=None, headers=None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers


class Http:
    """Serves HTTP on a port.

    Attributes:
      port: where.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str,
        port: int,
        model: str,
        keys: Sequence[str] = (),
        cors: str = "*",
    ):
        """Takes the port.

        Args:
          service: answers.
          host: the address to be reached at.
          port: 0 takes a free one.
          model: the name that the model goes by.
          keys: of which requests must bear one; (): none is asked for.
          cors: the origin whose pages may ask; "*": any.

        Raises:
          UserError: the port is taken, or the address is not this machine's.
        """
        self._service, self._model, self._keys = service, model, list(keys)
        try:
            self._socket = socket.create_server((host, port))
        except OSError as error:
            raise UserError(
                f"-http_port={port} at --host={host}: {error.strerror}; give another "
                "one"
            ) from error
        self.port = self._socket.getsockname()[1]
        self._created = int(time.time())
        self._ready_at = -_FRESH_SECONDS
        self._count_requests()
        config = uvicorn.Config(
            self._app(cors),
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
        )
        self._server = _Server(config)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serves until `finish` has been called, and all are answered."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._ended.set()

    async def finish(self) -> None:
        """Answers what has come, and takes no more."""
        self._server.should_exit = True
        await self._ended.wait()

    def close(self) -> None:
        """Gives the port free."""
        self._socket.close()

    def _app(self, cors):
        routes = {
            ("GET", "/"): self._page,
            ("POST", "/encode"): self._encode,
            ("POST", "/tokenize"): self._tokenize,
            ("GET", "/status/server"): self._status_server,
            ("GET", "/status/client"): self._status_client,
            ("POST", "/v1/embeddings"): self._embeddings,
            ("GET", "/v1/models"): self._models,
            ("GET", "/v1/models/{model:path}"): self._one_model,
            ("GET", "/live"): self._live,
            ("GET", "/ready"): self._ready,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/openapi.json"): self._schema,
        }
        if self._service.verb:
            routes["POST", f"/{self._service.verb}"] = self._answer
        made = [
            Route(path, self._guarded(path, answer), methods=[method])
            for (method, path), answer in routes.items()
        ]
        middleware = [
            Middleware(
                CORSMiddleware,
                allow_origins=[cors],
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            ),
            Middleware(GZipMiddleware, minimum_size=4096, compresslevel=1),
        ]

        async def unrouted(request, error):
            headers = error.headers
            found = _Error(error.status_code, error.detail, headers=headers)
            return _told(request, found)

        handlers = {HTTPException: unrouted}
        return Starlette(
            routes=made, middleware=middleware, exception_handlers=handlers
        )

    def _guarded(
        self, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Asks for a key, counts, and tells errors."""

        async def guarded(request):
            started = time.monotonic()
            try:
                if path not in _OPEN:
                    self._check_key(request)
                response = await answer(request)
            except Exception as error:
                response = _told(request, _as_error(error))
            self._requests.labels(path, str(response.status_code)).inc()
            self._seconds.labels(path).observe(time.monotonic() - started)
            return response

        return guarded

    def _check_key(self, request):
        if not self._keys:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip().encode() if kind.lower() == "bearer" else b""
        # All are compared, so that the time tells nothing.
        right = [hmac.compare_digest(given, key.encode()) for key in self._keys]
        if not any(right):
            raise _Error(
                401,
                "wanted the header `Authorization: Bearer KEY`, with one of the "
                "server's keys",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _object(self, request):
        """Reads the body, a JSON object."""
        most = self._service.admission.max_request_bytes
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise _Error(413, f"the body has more than {most} bytes")
        try:
            found = json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            raise _Error(400, f"the body is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise _Error(400, "the body is no JSON object")
        return found

    async def _ask(self, request, answering):
        """Awaits an answer; where the client leaves, it is not computed."""
        asked = asyncio.ensure_future(answering)
        left = asyncio.ensure_future(_left(request))
        try:
            done, _ = await asyncio.wait(
                {asked, left}, return_when=asyncio.FIRST_COMPLETED
            )
            if asked not in done:
                raise _Error(499, "the client has left")
            return asked.result()
        finally:
            for task in (asked, left):
                task.cancel()

    async def _encode(self, request):
        body = await self._object(request)
        texts = _field(body, "texts")
        if "is_tokenized" in body and isinstance(texts, list) and texts:
            in_units, wanted = isinstance(texts[0], list), body["is_tokenized"]
            if in_units != bool(wanted):
                raise _Error(
                    422,
                    f"is_tokenized is {json.dumps(wanted)}, but texts are lists of "
                    + ("pieces" if in_units else "characters"),
                    param="is_tokenized",
                )
        found = await self._ask(request, self._service.encode(texts, _CLIENT))
        told = {"id": body.get("id"), "result": found.vectors.tolist(), "status": 200}
        if body.get("show_tokens"):
            told["tokens"] = found.tokens()
        return JSONResponse(told)

    async def _answer(self, request):
        body = await self._object(request)
        texts = _field(body, "texts")
        return JSONResponse(
            await self._ask(request, self._service.answer(texts, _CLIENT))
        )

    async def _tokenize(self, request):
        body = await self._object(request)
        found = self._service.tokens(_field(body, "texts"), _CLIENT)
        return JSONResponse({"tokens": await self._ask(request, found)})

    async def _status_server(self, _):
        return JSONResponse(self._service.status())

    async def _status_client(self, _):
        """What the original tells of its own clients to itself; there are none."""
        return JSONResponse({"pending": self._service.waiting_texts})

    async def _embeddings(self, request):
        body = await self._object(request)
        self._check_model(_field(body, "model"))
        form = body.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise _Error(
                422,
                f"encoding_format is {json.dumps(form)}; wanted float or base64",
                param="encoding_format",
            )
        texts = self._input(_field(body, "input"))
        found = await self._ask(request, self._service.encode(texts, _CLIENT))
        vectors = found.vectors.astype("<f4", copy=False)
        if vectors.ndim != 2:
            raise _Error(
                400,
                "-pooling_strategy NONE gives no vector of a text: ask /encode, or "
                "start the server with another one",
            )
        self._check_dimensions(body.get("dimensions"), vectors.shape[1])
        if form == "base64":
            values = [base64.b64encode(v.tobytes()).decode() for v in vectors]
        else:
            values = vectors.tolist()
        data = [
            {"object": "embedding", "index": i, "embedding": value}
            for i, value in enumerate(values)
        ]
        usage = {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens}
        return JSONResponse(
            {"object": "list", "data": data, "model": self._model, "usage": usage}
        )

    def _input(self, given):
        """OpenAI's input: a text, texts, the ids of one text, or of several."""
        if isinstance(given, str):
            return [given]
        if _are_ids(given):
            given = [given]
        if isinstance(given, list) and given and all(map(_are_ids, given)):
            return self._service.units_of_ids(given)
        return given

    def _check_dimensions(self, given, width):
        if given is not None and given != width:
            raise _Error(
                422,
                f"dimensions is {json.dumps(given)}, but the model has {width}",
                param="dimensions",
            )

    def _check_model(self, name):
        if name != self._model:
            raise _Error(
                404,
                f"there is no model {json.dumps(name)[:80]} here; wanted {self._model}",
                param="model",
                code="model_not_found",
            )

    def _described(self):
        return {
            "id": self._model,
            "object": "model",
            "created": self._created,
            "owned_by": "word2bert",
        }

    async def _models(self, _):
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def _one_model(self, request):
        self._check_model(request.path_params["model"])
        return JSONResponse(self._described())

    async def _live(self, _):
        if not self._service.engine.alive:
            raise _Error(503, "a compute thread has ended")
        return JSONResponse({"status": "live"})

    async def _ready(self, _):
        """A text has gone through the model just now, or does so."""
        if self._service.stopping.is_set():
            raise _Error(503, "the server is being stopped")
        if time.monotonic() - self._ready_at > _FRESH_SECONDS:
            try:
                await asyncio.wait_for(
                    self._service.encode([_CANARY], _CLIENT, insist=True),
                    _CANARY_SECONDS,
                )
            except Exception as error:
                raise _Error(503, f"no vector of a text: {error!r}") from error
            self._ready_at = time.monotonic()
        return JSONResponse({"status": "ready"})

    def _count_requests(self):
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            "word2bert_http_requests",
            "HTTP requests answered.",
            ["path", "status"],
            registry=self._registry,
        )
        self._seconds = prometheus_client.Histogram(
            "word2bert_http_request_seconds",
            "From an HTTP request's headers to its answer.",
            ["path"],
            registry=self._registry,
        )
        counts = self._service.engine.counters
        for name, what, value in (
            ("waiting_texts", "Texts let in, not answered.", self._waiting),
            ("queued_rows", "Rows not being computed yet.", self._queued),
            ("batches", "Batches computed.", lambda: counts.batches),
            ("failed_batches", "Batches that failed.", lambda: counts.failed_batches),
            ("rows", "Rows computed.", lambda: counts.rows),
            ("tokens", "Tokens computed, with padding.", lambda: counts.tokens),
            ("compute_seconds", "Seconds of computing.", lambda: counts.seconds),
        ):
            gauge = prometheus_client.Gauge(
                f"word2bert_{name}", what, registry=self._registry
            )
            gauge.set_function(value)

    def _waiting(self):
        return self._service.waiting_texts

    def _queued(self):
        return self._service.engine.waiting()

    async def _metrics(self, _):
        text = prometheus_client.generate_latest(self._registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def _schema(self, _):
        return JSONResponse(
            openapi.schema(self._model, bool(self._keys), self._service.verb)
        )

    async def _page(self, _):
        return HTMLResponse(page.html(self._model, self._service.verb))


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self):
        """Captures none."""
        yield


async def _left(request):
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _field(body, name):
    if name not in body:
        raise _Error(422, f"there is no {name}", param=name)
    return body[name]


def _are_ids(value):
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(x) is int and 0 <= x < _LONGEST_IDS for x in value)
    )


def _as_error(error):
    """Returns what to tell of an exception."""
    if isinstance(error, _Error):
        return error
    if isinstance(error, TooMany):
        return _Error(413, str(error))
    if isinstance(error, UserError):
        return _Error(422, str(error))
    if isinstance(error, Busy):
        headers = {"Retry-After": str(error.retry_after)}
        return _Error(429, str(error), code="rate_limit_exceeded", headers=headers)
    if isinstance(error, Stopped):
        return _Error(503, str(error))
    logging.error("a request failed", exc_info=error)
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return _Error(500, f"the computation failed: {text[:500]}")


def _told(request: Request, error: _Error) -> Response:
    """An error as the route's clients read it."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    told: dict[str, Any]
    if request.url.path.startswith("/v1/"):
        told = {
            "error": {
                "message": str(error),
                "type": kind,
                "param": error.param,
                "code": error.code,
            }
        }
    else:
        told = {"description": str(error), "type": kind, "status": error.status}
    return JSONResponse(told, error.status, headers=error.headers)
