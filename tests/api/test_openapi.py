"""The OpenAPI document: complete, true to the server, and usable by others."""

import json
import re
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CheckFunction

VERBS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document(api: httpx.Client) -> dict[str, Any]:
    answer = api.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (verb, path, verbs[verb])
        for path, verbs in document["paths"].items()
        for verb in VERBS & verbs.keys()
    ]


def test_references_resolve(document: dict[str, Any]) -> None:
    wanted = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(document)))
    assert wanted <= document["components"]["schemas"].keys()


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert len(operations) > 35
    for verb, path, operation in operations:
        assert operation["description"].strip(), (verb, path)
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (verb, path, parameter["name"])


def test_examples_work(api: httpx.Client, ten: str, document: dict[str, Any]) -> None:
    """The body shown for each route is answered 200 by a collection it fits."""
    api.put("/collections/articles-2", json={"vectors": {"size": 4, "distance": "Cosine"}})
    for verb, path, operation in _operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        name = "created" if path == "/collections/{collection}" and verb == "put" else ten
        answer = api.request(verb, path.replace("{collection}", name), json=content["example"])
        assert answer.status_code == 200, (verb, path, answer.text)


def _checks() -> list[CheckFunction]:
    return [
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.CHECKS.get_one("status_code_conformance"),
        schemathesis.checks.CHECKS.get_one("content_type_conformance"),
        schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
    ]


def test_generated_requests_get_documented_answers(url: str, ten: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path_regex="/bulk$")
    tried = 0

    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(
            max_examples=8, derandomize=True, deadline=None, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            if "collection" in (case.path_parameters or {}):
                case.path_parameters["collection"] = ten if case.method != "PUT" else "generated"
            case.call_and_validate(checks=_checks())

        ask()
    assert tried > 200
