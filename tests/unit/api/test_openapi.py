"""The OpenAPI document says what the server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi


def references(value: Any) -> set[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set[str]()
        return found.union(*(references(part) for part in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(references(part) for part in value))
    return set()


async def test_the_document_holds_together(api: ServedApi) -> None:
    """Every path answers, every reference leads somewhere."""
    document = (await api.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.replace("{model}", "demo")
            response = await api.http.request(method, url, json={} if method == "post" else None)
            assert response.status_code == (400 if method == "post" else 200), (method, path)


async def test_the_page_needs_nothing_from_elsewhere(api: ServedApi) -> None:
    """It works on a cluster without a way to the internet."""
    page = (await api.http.get("/docs")).text
    assert "/v1/chat/completions" in page
    assert "reasoning_effort" in page
    assert "http://" not in page
    assert "https://" not in page
