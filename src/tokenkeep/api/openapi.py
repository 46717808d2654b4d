"""The description of this interface (OpenAPI 3.1), derived from the route table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tokenkeep.api.endpoint import Answer, Call, Endpoint, Guard
from tokenkeep.api.frame import ANYONES
from tokenkeep.api.problems import CREATED, MEDIA_TYPE, NOT_MODIFIED, SUCCESS, status_of
from tokenkeep.api.schemas import Problem, QueryParameters, ResponseBody
from tokenkeep.contract.loopback import leads_to_loopback

_ANY_ROUTE: Final = ("internal_error", "headers_too_large", "malformed_request")
_OWN_PAGES: Final = ("cross_site", "storage_unavailable")
_QUERY_ROUTE: Final = ("invalid_field",)
_BODY_ROUTE: Final = (
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_field",
)

_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Description(ResponseBody):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    servers: list[dict[str, Any]]
    paths: dict[str, Any]
    components: dict[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What a description says of the server besides its routes.

    Attributes:
        issuer: the address under which they are served.
        audiences: whom access tokens may be asked for.
        cookie: the name of the refresh cookie.
        version: the version of this software.
    """

    issuer: str
    audiences: tuple[str, ...]
    cookie: str
    version: str

    @property
    def https(self) -> bool:
        """Whether it is reached over https."""
        return self.issuer.startswith("https:")

    @property
    def local(self) -> bool:
        """Whether it is for this machine only."""
        return leads_to_loopback(self.issuer)


def described(endpoints: Sequence[Endpoint], about: About) -> list[Endpoint]:
    """Return the rows and one more, which serves the document that describes them all."""

    async def openapi(_call: Call[Any]) -> Answer:
        return Answer(document)

    row = Endpoint("GET", "/openapi.json", Guard.PUBLIC, openapi, Description, "Describe this interface.")
    rows = [*endpoints, row]
    document = msgspec.json.encode(describe(rows, about))
    return rows


def describe(endpoints: Sequence[Endpoint], about: About) -> dict[str, Any]:
    """Return the OpenAPI document of the routes."""
    answers: set[type] = {Problem, *(each.answer for each in endpoints if each.answer)}
    bodies: set[type] = {each.body for each in endpoints if each.body}
    ordered = sorted(answers | bodies, key=lambda schema: schema.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        audience = schema.get("properties", {}).get("audience")
        if audience is not None:
            audience["anyOf"] = [{"enum": list(about.audiences)}, {"type": "null"}]
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, about)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tokenkeep", "version": about.version},
        "servers": [{"url": about.issuer}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "refreshCookie": {"type": "apiKey", "in": "cookie", "name": about.cookie},
                "operationsToken": {"type": "http", "scheme": "bearer", "description": "The setting ops_token."},
                "feedToken": {"type": "http", "scheme": "bearer", "description": "The setting feed_token."},
            },
        },
    }


def _operation(endpoint: Endpoint, about: About) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "responses": {
            str(CREATED if endpoint.creates else SUCCESS): _success(endpoint),
            **_refusals(endpoint, about),
        },
    }
    if endpoint.revalidated:
        operation["responses"][str(NOT_MODIFIED)] = {"description": "What `If-None-Match` names is still right."}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        parameters += _query_parameters(endpoint.query, about)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {"application/json": {"schema": _reference(endpoint.body.__name__)}},
        }
    if endpoint.guard in {Guard.BEARER, Guard.AUDIENCE, Guard.ADMIN}:
        operation["security"] = [{"accessToken": []}]
    elif endpoint.guard is Guard.OPERATIONS:
        operation["security"] = [{"operationsToken": []}, {}] if about.local else [{"operationsToken": []}]
    elif endpoint.guard is Guard.FEED:
        operation["security"] = [{"feedToken": []}]
    elif endpoint.cookie:
        operation["security"] = [{"refreshCookie": []}, {}]
    return operation


def _query_parameters(query: type[QueryParameters], about: About) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template="#/components/schemas/{name}")
    properties: dict[str, Any] = components[query.__name__]["properties"]
    if "audience" in properties:
        properties["audience"]["enum"] = list(about.audiences)
    return [{"name": name, "in": "query", "required": False, "schema": each} for name, each in properties.items()]


def _success(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is None:
        return {"description": "Success.", "content": {endpoint.text: {"schema": {"type": "string"}}}}
    success: dict[str, Any] = {
        "description": "Success.",
        "content": {"application/json": {"schema": _reference(endpoint.answer.__name__)}},
    }
    if endpoint.headers:
        success["headers"] = {name: {"required": True, "schema": {"type": "string"}} for name in endpoint.headers}
    return success


def _refusals(endpoint: Endpoint, about: About) -> dict[str, Any]:
    codes = {*endpoint.refusals, *_ANY_ROUTE}
    if endpoint.path not in ANYONES:
        codes.update(("misdirected_request", "https_required") if about.https else ("misdirected_request",))
    if endpoint.cookie or endpoint.own_pages:
        codes.update(_OWN_PAGES)
    if endpoint.query is not None:
        codes.update(_QUERY_ROUTE)
    if endpoint.guard in {Guard.BEARER, Guard.ADMIN}:
        codes.add("storage_unavailable")
    if endpoint.body is not None:
        codes.update(_BODY_ROUTE)
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(status_of(code)), []).append(code)
    return {status: _problem(named) for status, named in sorted(by_status.items())}


def _problem(codes: list[str]) -> dict[str, Any]:
    schema = {"allOf": [_reference(Problem.__name__), {"properties": {"code": {"enum": codes}}}]}
    return {"description": f"`code` is {' or '.join(codes)}.", "content": {MEDIA_TYPE: {"schema": schema}}}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
