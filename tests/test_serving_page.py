"""The page at `/` in a browser, and all routes against their schema; slow."""

import dataclasses

import browser
import pytest
import serving_fakes

from serving.http import Http

pytestmark = pytest.mark.slow
MODEL = "tiny-model"


class Classes(serving_fakes.Vectors):
    """Says which texts are short."""

    verb = "classify"

    def asked(self, texts):
        """Half sure of all."""
        asked = super().asked(texts)

        def join(values):
            labels = ["short" if value[0] < 3 else "long" for value in values]
            shares = [[0.25, 0.75] for _ in values]
            return {"labels": labels, "probabilities": shares}

        return dataclasses.replace(asked, join=join)


def fronts(service, **kwargs):
    return [Http(service, host="127.0.0.1", port=0, model=MODEL, **kwargs)]


@pytest.fixture
def page(tmp_path):
    if not browser.CHROMIUM:
        pytest.skip("there is no chromium: apt-get install chromium")
    with browser.page(tmp_path / "profile") as page:
        yield page


def encode(page, text):
    page.value(f"document.getElementById('text').value = {text!r}")
    page.value("document.querySelector('button').click()")


def wait_for(page, name, text):
    element = f"document.getElementById('{name}')"
    page.wait_for(f"{element}.innerText.includes({text!r})")


def shown(page, name):
    return page.value(f"document.getElementById('{name}').innerText")


def test_the_page_shows_the_model_a_texts_vector_and_what_is_going_on(page):
    with serving_fakes.served(fronts, answers=Classes()) as ((front,), _):
        page.open(f"http://127.0.0.1:{front.port}/")
        assert page.value("document.querySelector('h1').innerText") == MODEL
        wait_for(page, "load", "0 texts waiting")
        encode(page, "one two")
        page.wait_for("!found.hidden")
        pieces = "[...document.querySelectorAll('.piece')].map(x => x.innerText)"
        assert page.value(pieces) == ["one", "two"]
        assert shown(page, "shape") == "3 numbers"
        assert shown(page, "vector") == "[2, 6, 668]"
        assert shown(page, "answer").split("\n") == [
            *("Labels", "short", "Probabilities", "0.25, 0.75")
        ]
        wait_for(page, "load", "2 requests with 2 texts")
        encode(page, "fail")
        wait_for(page, "error", "no vector for it")
        assert page.value("found.hidden")


def test_the_page_asks_with_a_key(page):
    with serving_fakes.served(lambda s: fronts(s, keys=["k1"])) as ((front,), _):
        page.open(f"http://127.0.0.1:{front.port}/")
        encode(page, "one")
        wait_for(page, "error", "Authorization")
        page.value("document.getElementById('key').value = 'k1'")
        encode(page, "one")
        page.wait_for("!found.hidden")
        assert not shown(page, "error")


def test_every_answer_is_as_the_schema_says():
    schemathesis = pytest.importorskip(
        "schemathesis", reason='pip install "schemathesis>=4" for this test'
    )
    import hypothesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    with serving_fakes.served(fronts, answers=Classes()) as ((front,), _):
        schema = schemathesis.openapi.from_url(
            f"http://127.0.0.1:{front.port}/openapi.json"
        )
        asked = set()
        for operation in schema.get_all_operations():
            operation = operation.ok()
            asked.add(operation.path)

            @hypothesis.given(case=operation.as_strategy())
            @hypothesis.settings(
                max_examples=40,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            def ask(case):
                # A schema cannot say what all is refused, as ids of no piece are.
                case.call_and_validate(excluded_checks=[positive_data_acceptance])

            ask()
        assert {"/encode", "/classify", "/v1/embeddings", "/metrics"} <= asked
