"""The description of this interface (OpenAPI 3.1), derived from the route table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tokenkeep.api.endpoint import Answer, Call, Endpoint, Guard
from tokenkeep.api.frame import ANYONES
from tokenkeep.api.problems import CREATED, MEDIA_TYPE, SUCCESS, status_of
from tokenkeep.api.schemas import Problem, QueryParameters, ResponseBody

_ANY_ROUTE: Final = ("internal_error", "headers_too_large")
_OWN_PAGES: Final = ("malformed_request", "cross_site", "storage_unavailable")
_QUERY_ROUTE: Final = ("malformed_request", "invalid_field")
_BODY_ROUTE: Final = (
    "malformed_request",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_field",
)


_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Description(ResponseBody):
    """An OpenAPI document."""

    openapi: str


def describe(endpoints: Sequence[Endpoint], *, issuer: str, cookie: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the routes.

    Args:
        issuer: the address under which they are served.
        cookie: the name of the refresh cookie.
        version: the version of this software.
    """
    answers: set[type] = {Problem, *(each.answer for each in endpoints if each.answer)}
    bodies: set[type] = {each.body for each in endpoints if each.body}
    ordered = sorted(answers | bodies, key=lambda schema: schema.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint, https=issuer.startswith("https:")
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tokenkeep", "version": version},
        "servers": [{"url": issuer}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "refreshCookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }


def description_endpoint(document: dict[str, Any]) -> Endpoint:
    """Return the row that serves the document."""
    encoded = msgspec.json.encode(document)

    async def openapi(_call: Call[Any]) -> Answer:
        return Answer(encoded)

    return Endpoint("GET", "/openapi.json", Guard.PUBLIC, openapi, Description, "Describe this interface.")


def _operation(endpoint: Endpoint, *, https: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "responses": {
            str(CREATED if endpoint.creates else SUCCESS): _success(endpoint),
            **_refusals(endpoint, https=https),
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        parameters += _query_parameters(endpoint.query)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {"application/json": {"schema": _reference(endpoint.body.__name__)}},
        }
    if endpoint.guard in {Guard.BEARER, Guard.ADMIN}:
        operation["security"] = [{"accessToken": []}]
    elif endpoint.cookie:
        operation["security"] = [{"refreshCookie": []}, {}]
    return operation


def _query_parameters(query: type[QueryParameters]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template="#/components/schemas/{name}")
    properties: dict[str, Any] = components[query.__name__]["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": each} for name, each in properties.items()]


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is None:
        return {"description": "Success.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return _content("Success.", endpoint.answer.__name__)


def _refusals(endpoint: Endpoint, *, https: bool) -> dict[str, Any]:
    codes = {*endpoint.refusals, *_ANY_ROUTE}
    if endpoint.path not in ANYONES:
        codes.update(("misdirected_request", "https_required") if https else ("misdirected_request",))
    if endpoint.cookie or endpoint.own_pages:
        codes.update(_OWN_PAGES)
    if endpoint.query is not None:
        codes.update(_QUERY_ROUTE)
    if endpoint.guard in {Guard.BEARER, Guard.ADMIN}:
        codes.update(("malformed_request", "storage_unavailable"))
    if endpoint.body is not None:
        codes.update(_BODY_ROUTE)
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(status_of(code)), []).append(code)
    return {
        status: _content(f"`code` is {' or '.join(named)}.", Problem.__name__, MEDIA_TYPE)
        for status, named in sorted(by_status.items())
    }


def _content(description: str, schema: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": _reference(schema)}}}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
