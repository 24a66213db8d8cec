"""What the HTTP routes take and answer, in OpenAPI's terms."""

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {
    "oneOf": [
        {"type": "array", "minItems": 1, "items": _TEXT},
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "minItems": 1, "items": _TEXT},
        },
    ],
    "description": "Texts, `a ||| b` for a pair, or texts in pieces.",
}
_IDS = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
_VECTORS = {"type": "array", "items": {"type": "array"}}
_VERBS = {
    "classify": "Labels and probabilities of texts, or of pairs of texts",
    "tag": "Tags of sentences, which are lists of words",
    "answer": "Answers, each to a list of a question and a text",
}
_STATUS = {
    400: "The body is no JSON object.",
    401: "There is no right key.",
    404: "There is no such model.",
    413: "The body is too long, or has too many texts.",
    422: "A field is missing, or is not what is wanted.",
    429: "Too many texts are waiting; Retry-After says when to come again.",
    500: "The computation failed.",
    503: "The server is not ready, or is being stopped.",
}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*required], "properties": properties}


def _json(schema):
    return {"application/json": {"schema": schema}}


def _route(summary, answer, statuses, body=None, kind=None):
    content = {kind: {"schema": answer}} if kind else _json(answer)
    responses = {"200": {"description": "The answer.", "content": content}}
    for status in statuses:
        responses[str(status)] = {"description": _STATUS[status]}
    found = {"summary": summary, "responses": responses}
    if body:
        found["requestBody"] = {"required": True, "content": _json(body)}
    return found


_ASKING = (400, 401, 413, 422, 429, 500, 503)


def _paths():
    text = {"type": "string"}
    embedding = _object(
        ("object", "index", "embedding"),
        object=text,
        index={"type": "integer"},
        embedding={"oneOf": [{"type": "array", "items": {"type": "number"}}, text]},
    )
    model = _object(("id", "object"), id=text, object=text)
    return {
        "/encode": {
            "post": _route(
                "Vectors, as bert-as-service's HTTP server answers",
                _object(("result", "status"), result=_VECTORS),
                _ASKING,
                _object(
                    ("texts",),
                    id={},
                    texts=_TEXTS,
                    is_tokenized={"type": "boolean"},
                    show_tokens={"type": "boolean"},
                ),
            )
        },
        "/tokenize": {
            "post": _route(
                "The pieces that texts are cut into",
                _object(("tokens",), tokens=_VECTORS),
                _ASKING,
                _object(("texts",), texts={"type": "array", "items": _TEXT}),
            )
        },
        "/v1/embeddings": {
            "post": _route(
                "Vectors, as OpenAI's API answers",
                _object(
                    ("object", "data", "model", "usage"),
                    data={"type": "array", "items": embedding},
                ),
                (404, *_ASKING),
                _object(
                    ("model", "input"),
                    model=text,
                    input={
                        "anyOf": [_TEXT, {"type": "array", "items": _TEXT}, _IDS]
                        + [{"type": "array", "items": _IDS}]
                    },
                    encoding_format={"enum": ["float", "base64"]},
                    dimensions={"type": "integer"},
                    user=text,
                ),
            )
        },
        "/v1/models": {
            "get": _route(
                "The model", _object(("data",), data={"type": "array"}), (401,)
            )
        },
        "/v1/models/{model}": {
            "get": _route("The model, by its name", model, (401, 404)),
            "parameters": [
                {"name": "model", "in": "path", "required": True, "schema": text}
            ],
        },
        "/status/server": {
            "get": _route("bert-as-service's SHOW_STATUS", _object(), (401,))
        },
        "/status/client": {
            "get": _route("How many texts are waiting", _object(), (401,))
        },
        "/live": {"get": _route("Whether the process computes", _object(), (503,))},
        "/ready": {
            "get": _route("Whether a text goes through the model", _object(), (503,))
        },
        "/metrics": {"get": _route("For Prometheus", text, (401,), kind="text/plain")},
    }


def schema(model: str, needs_key: bool, verb: str | None) -> dict[str, Any]:
    """Returns the description of all routes.

    Args:
      model: its name.
      needs_key: whether requests must bear a key.
      verb: what a trained model does with texts; None: there is none.
    """
    found = {
        "openapi": "3.1.0",
        "info": {"title": f"Vectors of {model}", "version": "1.10.0"},
        "paths": _paths(),
    }
    if verb:
        asked = _object(("texts",), texts=_TEXTS)
        route = _route(_VERBS[verb], _object(), _ASKING, asked)
        found["paths"][f"/{verb}"] = {"post": route}
    if needs_key:
        scheme = {"key": {"type": "http", "scheme": "bearer"}}
        found |= {"components": {"securitySchemes": scheme}, "security": [{"key": []}]}
    return found
