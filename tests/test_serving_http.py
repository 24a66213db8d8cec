"""HTTP: bert-as-service's routes, OpenAI's client, limits, keys, probes."""

import asyncio
import base64
import dataclasses
import http.client
import json
import threading
import time

import numpy as np
import openai
import pytest
import serving_fakes
from serving_fakes import vector

from errors import UserError
from serving import openapi
from serving.http import Http

MODEL = "tiny-model"


def fronts(service, **kwargs):
    options = {"host": "127.0.0.1", "port": 0, "model": MODEL}
    return [Http(service, **{**options, **kwargs})]


@pytest.fixture(scope="module")
def server():
    """A server that every test may use; its front, its service, what computes."""
    vectors = serving_fakes.Vectors()
    with serving_fakes.served(fronts, vectors) as ((front,), service):
        yield front, service, vectors


def ask(front, path, body=None, method=None, **headers):
    """Returns status, headers, and what the body holds."""
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(
        method or ("GET" if body is None else "POST"), path, data, headers
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, answer.headers, json.loads(text) if is_json else text


def test_encode_answers_as_the_original(server):
    body = {"id": 123, "texts": ["a bc", "日本"], "is_tokenized": False}
    status, _, found = ask(server[0], "/encode", body)
    assert status == 200
    assert found == {
        "id": 123,
        "result": [vector(t).tolist() for t in body["texts"]],
        "status": 200,
    }
    body = {"texts": [["a", "bc"]], "is_tokenized": True, "show_tokens": True}
    found = ask(server[0], "/encode", body)[2]
    assert found["result"] == [vector("a bc").tolist()]
    assert found["tokens"] == [["a", "bc"]]
    assert ask(server[0], "/tokenize", {"texts": ["a bc"]})[2] == {
        "tokens": [["a", "bc"]]
    }


def test_openais_client_gets_vectors_by_default_in_base64(server):
    url = f"http://127.0.0.1:{server[0].port}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        found = client.embeddings.create(model=MODEL, input=["one two", "three"])
        assert [row.index for row in found.data] == [0, 1]
        wanted = [vector("one two").tolist(), vector("three").tolist()]
        assert [row.embedding for row in found.data] == wanted
        assert found.usage.prompt_tokens == 3
        plain = client.embeddings.create(
            model=MODEL, input="three", encoding_format="float"
        )
        assert plain.data[0].embedding == wanted[1]
        ids = client.embeddings.create(model=MODEL, input=[[1, 2], [3]])
        assert ids.data[0].embedding == vector(["a", "aa"]).tolist()
        assert client.models.list().data[0].id == MODEL
        with pytest.raises(openai.NotFoundError, match="there is no model"):
            client.embeddings.create(model="other", input="x")
        with pytest.raises(openai.UnprocessableEntityError, match="not blank"):
            client.embeddings.create(model=MODEL, input=" ")
        with pytest.raises(openai.InternalServerError, match="no vector for it"):
            client.embeddings.create(model=MODEL, input="fail")


def test_base64_is_of_little_endian_float32(server):
    body = {"model": MODEL, "input": [7, 2], "encoding_format": "base64"}
    found = ask(server[0], "/v1/embeddings", body)[2]["data"]
    values = np.frombuffer(base64.b64decode(found[0]["embedding"]), "<f4")
    np.testing.assert_array_equal(values, vector(["a" * 7, "aa"]))


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/encode", b"{", 400, "the body is no JSON"),
        ("/encode", b"\xff", 400, "the body is no JSON"),
        ("/encode", [], 400, "no JSON object"),
        ("/encode", {}, 422, "there is no texts"),
        ("/encode", {"texts": []}, 422, "wanted a list of texts, not empty"),
        ("/encode", {"texts": "a"}, 422, "got 'a'; wanted a list of texts"),
        ("/encode", {"texts": ["a", None]}, 422, "texts[1]: got None; wanted a text"),
        ("/encode", {"texts": ["a"], "is_tokenized": True}, 422, "is_tokenized is"),
        ("/encode", {"texts": ["a"] * 8193}, 413, "wanted at most 8192 in a request"),
        ("/encode", b" " * ((16 << 20) + 1), 413, "more than 16777216 bytes"),
        ("/tokenize", {"texts": [["a"]]}, 422, "got a list; wanted a text"),
        ("/encode", {"texts": ["fail"]}, 500, "ArithmeticError: no vector for it"),
        ("/gone", {"texts": ["a"]}, 404, "Not Found"),
        ("/encode", None, 405, "Method Not Allowed"),
    ],
)
def test_a_bad_request_is_told_with_its_status(server, path, body, status, told):
    found_status, _, found = ask(server[0], path, body)
    assert found_status == found["status"] == status
    assert told in found["description"]
    assert ask(server[0], "/encode", {"texts": ["after"]})[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "a"}, 422, "model"),
        ({"model": MODEL}, 422, "input"),
        ({"model": "x", "input": "a"}, 404, "model"),
        ({"model": MODEL, "input": "a", "encoding_format": "int8"}, 422, None),
        ({"model": MODEL, "input": "a", "dimensions": 2}, 422, "dimensions"),
        ({"model": MODEL, "input": [1, "a"]}, 422, None),
    ],
)
def test_errors_of_v1_have_openais_shape(server, body, status, param):
    found_status, _, found = ask(server[0], "/v1/embeddings", body)
    assert found_status == status
    assert set(found["error"]) == {"message", "type", "param", "code"}
    assert found["error"]["type"] == "invalid_request_error"
    assert param is None or found["error"]["param"] == param


def test_probes_and_counts(server):
    front = server[0]
    assert ask(front, "/live")[2] == {"status": "live"}
    assert ask(front, "/ready")[2] == {"status": "ready"}
    ask(front, "/encode", {"texts": ["count me"]})
    assert ask(front, "/status/server")[2]["statistic"]["num_data_request"] > 0
    text = ask(front, "/metrics")[2]
    line = 'word2bert_http_requests_total{path="/encode",status="200"}'
    assert line in text
    assert "word2bert_rows" in text


def test_not_ready_where_no_text_goes_through(monkeypatch):
    vectors = serving_fakes.Vectors()
    monkeypatch.setattr("serving.http._CANARY_SECONDS", 0.05)
    with serving_fakes.served(fronts, vectors) as ((front,), _):
        vectors.go.clear()
        status, _, found = ask(front, "/ready")
        assert status == 503
        assert "no vector of a text" in found["description"]
        assert ask(front, "/live")[0] == 200


def test_beyond_its_room_the_server_asks_to_come_again():
    vectors = serving_fakes.Vectors()
    limits = {"max_request_texts": 8, "max_waiting_texts": 8}
    with serving_fakes.served(fronts, vectors, **limits) as ((front,), service):
        vectors.go.clear()
        body = {"texts": ["t"] * 6}
        answers = []
        first = threading.Thread(
            target=lambda: answers.append(ask(front, "/encode", body)[0])
        )
        first.start()
        while service.waiting_texts < 6:
            time.sleep(0.01)
        status, headers, found = ask(front, "/encode", {"texts": ["t"] * 3})
        assert (status, found["status"]) == (429, 429)
        assert int(headers["Retry-After"]) >= 1
        vectors.go.set()
        first.join()
        assert answers == [200]


def test_what_a_client_that_left_asked_for_is_not_computed(server):
    front, service, vectors = server
    vectors.go.clear()
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    connection.request("POST", "/encode", json.dumps({"texts": ["left"] * 40}))
    while not service.engine.waiting():
        time.sleep(0.01)
    connection.close()
    while service.waiting_texts:
        time.sleep(0.01)
    before = len(vectors.computed)
    vectors.go.set()
    assert ask(front, "/encode", {"texts": ["then"]})[0] == 200
    assert "left" not in [
        row for rows in vectors.computed[before + 1 :] for row in rows
    ]


def test_a_key_is_asked_for_by_all_but_the_probes():
    def guarded(service):
        return fronts(service, keys=("secret", "other"))

    with serving_fakes.served(guarded) as ((front,), _):
        body = {"texts": ["a"]}
        for given in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "secret"},
        ):
            status, headers, _ = ask(front, "/encode", body, **given)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        for key in ("secret", "other"):
            given = {"Authorization": f"Bearer {key}"}
            assert ask(front, "/encode", body, **given)[0] == 200
        assert ask(front, "/metrics")[0] == 401
        assert [ask(front, path)[0] for path in ("/live", "/ready", "/")] == [200] * 3


def test_what_a_trained_model_does_has_a_route():
    class Answers(serving_fakes.Vectors):
        verb = "classify"

        def asked(self, texts):
            asked = super().asked(texts)

            def join(values):
                return {"labels": [str(int(value[0])) for value in values]}

            return dataclasses.replace(asked, join=join)

    with serving_fakes.served(fronts, answers=Answers()) as ((front,), _):
        found = ask(front, "/classify", {"texts": ["a b", "c"]})
        assert found[::2] == (200, {"labels": ["2", "1"]})
        assert ask(front, "/classify", {"texts": [3]})[0] == 422
        assert "/classify" in ask(front, "/openapi.json")[2]["paths"]
        assert 'verb = "classify"' in ask(front, "/")[2]
        assert ask(front, "/tag", {"texts": ["a"]})[0] == 404


def test_the_schema_has_every_route_and_the_page_the_model(server):
    front = server[0]
    found = ask(front, "/openapi.json")[2]
    assert found == json.loads(json.dumps(openapi.schema(MODEL, False, None)))
    for path, methods in found["paths"].items():
        for method in methods.keys() - {"parameters"}:
            body = {} if method == "post" else None
            path = path.replace("{model}", MODEL)
            assert ask(front, path, body, method.upper())[0] not in (404, 405)
    status, headers, text = ask(front, "/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert f"<h1>{MODEL}</h1>" in text


def test_what_has_come_is_answered_before_the_end():
    vectors, answers = serving_fakes.Vectors(), []
    with serving_fakes.served(fronts, vectors) as ((front,), service):
        vectors.go.clear()
        body = {"texts": ["t"]}
        asking = threading.Thread(
            target=lambda: answers.append(ask(front, "/encode", body)[0])
        )
        asking.start()
        while not service.waiting_texts:
            time.sleep(0.01)
    asking.join()
    assert answers == [200]


def test_a_port_that_is_taken_is_named(server):
    front, service, _ = server
    with pytest.raises(UserError, match=rf"-http_port={front.port} .*already in use"):
        fronts(service, port=front.port)
    assert asyncio.run(service.tokens(["a b"], b"")) == [["a", "b"]]
