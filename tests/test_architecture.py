"""The rules of the house that the import linter cannot state, read from the syntax tree of src/tokenkeep.

A rule is a function from a module to its offences; a test holds one rule over all modules, and another shows that
each rule sees an offence when there is one. Arrows between layers are in pyproject.toml, under tool.importlinter.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tokenkeep"
TESTS = ROOT / "tests"

LONGEST_MODULE = 350
NAMES_THAT_SAY_NOTHING = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

# Which of our modules may import what is not ours. A folder ends with a slash and holds all below it.
THIRD_PARTIES = {
    "argon2": ("passwords/",),
    "asyncpg": ("storage/sql/",),
    "bcrypt": ("passwords/",),
    "click": ("cli/",),
    "cryptography": ("jose/", "domain/secrets.py", "storage/sealing.py"),
    "fastapi": ("verifier/fastapi.py",),
    "granian": ("cli/",),
    "httpx2": ("verifier/",),
    "msgspec": ("jose/encoding.py", "api/", "cli/", "settings/", "observability.py"),
    "prometheus_client": ("observability.py",),
    "redis": ("storage/redis.py",),
    "rich": ("cli/",),
    "starlette": ("api/", "server.py", "verifier/asgi.py", "verifier/fastapi.py"),
    "structlog": ("observability.py",),
    "zxcvbn": ("passwords/",),
}
# Modules of the standard library that only some may import.
STANDARD_LIBRARY = {"sqlite3": ("storage/sql/",)}
# Modules of ours that only some may import; everyone else is handed a policy, and raises or records an event.
GUARDED = {
    "observability": ("api/", "cli/", "server.py"),
    "settings": ("settings/", "cli/", "server.py", "assembly.py", "backends.py", "policies.py"),
}

# What may only compute, and what it may not touch: clocks, randomness, logs, the process and its environment.
PURE = ("jose/", "contract/", "domain/")
IMPURE_MODULES = {"asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "time", "uuid"}
CLOCK_READINGS = {"now", "today", "utcnow"}
KEY_DRAWINGS = {"generate", "generate_key", "generate_private_key"}
PURE_BUT_FOR = {
    "jose/jwt.py": {"time", "secrets"},  # reads the clock when `now` is None, draws a `jti` when none is given
    "jose/keys.py": {"secrets", *KEY_DRAWINGS},  # Key.generate draws a key
    "jose/material.py": {"secrets", *KEY_DRAWINGS},  # for Key.generate
}

# Where an error becomes an HTTP status. 500 is left out: it is a likely size, and nothing answers it on purpose.
# The client of the feed reads what another server answered with, and tells what to do about it.
STATUS_FILES = ("api/problems.py", "verifier/verifier.py", "verifier/challenge.py", "verifier/feed_client.py")
REFUSALS = {400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 421, 422, 429, 431, 501, 502, 503, 504}
STATUS_KEYWORDS = {"status", "status_code"}

Offence = tuple[int, str]


@dataclass(frozen=True)
class Module:
    """A source file: its path below the package, and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "Module":
        """Return the module with that text."""
        return cls(path, text, ast.parse(text, path))

    def is_one_of(self, places: tuple[str, ...]) -> bool:
        """Tell whether the module is one of the files, or below one of the folders."""
        return any(self.path.startswith(place) if place.endswith("/") else self.path == place for place in places)

    def imports(self) -> Iterator[Offence]:
        """Yield line and full dotted name of everything imported, wherever in the module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def read_below(folder: Path) -> list[Module]:
    """Return the Python modules below a folder."""
    files = sorted(folder.rglob("*.py"))
    return [Module.parse(file.relative_to(folder).as_posix(), file.read_text("utf-8")) for file in files]


MODULES = read_below(PACKAGE)


def foreign_imports(module: Module) -> Iterator[Offence]:
    """Yield imports of third-party packages, and of guarded standard ones, where they have no place."""
    for line, name in module.imports():
        root = name.partition(".")[0]
        if root in STANDARD_LIBRARY:
            places = STANDARD_LIBRARY[root]
        elif root == "tokenkeep" or root in sys.stdlib_module_names:
            continue
        else:
            places = THIRD_PARTIES.get(root, ())
        if not module.is_one_of(places):
            yield line, f"imports {root}, which belongs in {', '.join(places) or 'no module'}"


def impurities(module: Module) -> Iterator[Offence]:
    """Yield what waits, reads a clock, draws randomness or logs in a module that may only compute."""
    if not module.is_one_of(PURE):
        return
    excepted = PURE_BUT_FOR.get(module.path, set())
    for line, name in module.imports():
        root = name.partition(".")[0]
        if root in IMPURE_MODULES - excepted:
            yield line, f"imports {root}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield node.lineno, "waits"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CLOCK_READINGS and ast.unparse(node.func.value).endswith(("datetime", "date")):
                yield node.lineno, "reads a clock"
            elif node.func.attr in KEY_DRAWINGS - excepted:
                yield node.lineno, "draws a key"
        elif isinstance(node, ast.Name) and node.id == "print":
            yield node.lineno, "prints"


def guarded_imports(module: Module) -> Iterator[Offence]:
    """Yield imports of our own modules that only some may import, by others."""
    for line, name in module.imports():
        for guarded, places in GUARDED.items():
            if is_below(name, f"tokenkeep.{guarded}") and not module.is_one_of(places):
                yield line, f"imports {name}, which belongs in {', '.join(places)}"


def is_below(name: str, package: str) -> bool:
    """Tell whether a dotted name is a package or in it."""
    return name == package or name.startswith(f"{package}.")


def status_numbers(module: Module) -> Iterator[Offence]:
    """Yield HTTP statuses of refusals, as numbers or by name, outside the modules that turn errors into answers."""
    if module.is_one_of(STATUS_FILES):
        return
    for line, name in module.imports():
        if name == "http.HTTPStatus" or is_below(name, "starlette.status"):
            yield line, f"imports {name}"
    faces_http = module.is_one_of(("api/", "verifier/", "server.py"))
    for node in ast.walk(module.tree):
        if faces_http and isinstance(node, ast.Constant) and type(node.value) is int and node.value in REFUSALS:
            yield node.lineno, f"names the status {node.value}"
        elif isinstance(node, ast.keyword) and node.arg in STATUS_KEYWORDS and is_refusal(node.value):
            yield node.value.lineno, f"sets {node.arg}={ast.unparse(node.value)}"
        elif isinstance(node, ast.Compare) and "status" in ast.unparse(node.left):
            yield from ((node.lineno, "compares a status") for right in node.comparators if is_refusal(right))


def is_refusal(node: ast.expr) -> bool:
    """Tell whether an expression is a number from 400 to 599."""
    return isinstance(node, ast.Constant) and type(node.value) is int and 400 <= node.value <= 599


def undocumented(module: Module) -> Iterator[Offence]:
    """Yield the module, public functions, classes and methods without a docstring."""
    if not ast.get_docstring(module.tree):
        yield 1, "the module has no docstring"
    yield from undocumented_in(module.tree)


def undocumented_in(scope: ast.Module | ast.ClassDef) -> Iterator[Offence]:
    """Yield the public functions and classes of a scope without a docstring."""
    for node in scope.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        if not ast.get_docstring(node) and not decorators & {"overload", "setter", "deleter"}:
            yield node.lineno, f"{node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            yield from undocumented_in(node)


def excess_lines(module: Module) -> Iterator[Offence]:
    """Yield a module that is too long."""
    length = module.text.count("\n")
    if length > LONGEST_MODULE:
        yield length, f"{length} lines, {LONGEST_MODULE} are allowed: look for the missing noun"


def empty_names(module: Module) -> Iterator[Offence]:
    """Yield a name of a module or folder that says nothing."""
    for part in NAMES_THAT_SAY_NOTHING & set(module.path.removesuffix(".py").split("/")):
        yield 1, f"{part!r} names nothing"


def undocumented_tests(module: Module) -> Iterator[Offence]:
    """Yield test functions without a docstring."""
    for node in ast.walk(module.tree):
        is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if is_test and not ast.get_docstring(node):
            yield node.lineno, f"{node.name} has no docstring"


RULES = (
    foreign_imports,
    impurities,
    guarded_imports,
    status_numbers,
    undocumented,
    excess_lines,
    empty_names,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds_in_every_module(rule: Callable[[Module], Iterator[Offence]]) -> None:
    """No module of the package breaks the rule."""
    assert [f"{module.path}:{line} {what}" for module in MODULES for line, what in rule(module)] == []


@pytest.mark.parametrize("rule", [undocumented_tests, empty_names], ids=lambda rule: rule.__name__)
def test_rule_holds_in_every_test_module(rule: Callable[[Module], Iterator[Offence]]) -> None:
    """Every test says in a sentence what it shows, and no test module hides behind an empty name."""
    modules = read_below(TESTS)
    assert [f"tests/{module.path}:{line} {what}" for module in modules for line, what in rule(module)] == []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (foreign_imports, "flows/login.py", "import asyncpg"),
        (foreign_imports, "jose/jws.py", "import msgspec"),
        (foreign_imports, "jose/encoding.py", "import requests"),
        (foreign_imports, "flows/purge.py", "from sqlite3 import connect"),
        (foreign_imports, "verifier/verifier.py", "def f():\n    from starlette.requests import Request"),
        (impurities, "domain/sessions.py", "async def judge(): ..."),
        (impurities, "domain/sessions.py", "from time import time"),
        (impurities, "jose/jws.py", "import secrets"),
        (impurities, "jose/jwt.py", "import logging"),
        (impurities, "contract/revocation.py", "from datetime import datetime, UTC\nx = datetime.now(UTC)"),
        (impurities, "domain/signing_keys.py", "from tokenkeep.jose.keys import Key\nkey = Key.generate('ES256')"),
        (guarded_imports, "flows/login.py", "from tokenkeep import settings"),
        (guarded_imports, "api/app.py", "from tokenkeep.settings.options import Settings"),
        (guarded_imports, "storage/memory.py", "import tokenkeep.observability"),
        (status_numbers, "api/sessions.py", "x = JSONResponse({}, 401)"),
        (status_numbers, "api/app.py", "x = Response(status_code=500)"),
        (status_numbers, "flows/login.py", "from http import HTTPStatus"),
        (status_numbers, "cli/serve.py", "x = 1 if answer.status_code == 503 else 2"),
        (undocumented, "jose/jws.py", "x = 1"),
        (undocumented, "jose/jws.py", '"""Doc."""\nclass Token:\n    """Doc."""\n    def read(self): ...'),
        (excess_lines, "jose/jws.py", "x = 1\n" * (LONGEST_MODULE + 1)),
        (empty_names, "api/utils.py", ""),
        (empty_names, "common/codes.py", ""),
        (undocumented_tests, "test_login.py", "class TestLogin:\n    async def test_wrong_password(self): ..."),
    ],
)
def test_rule_sees_an_offence(rule: Callable[[Module], Iterator[Offence]], path: str, text: str) -> None:
    """Each rule finds what it is there to find."""
    assert list(rule(Module.parse(path, text)))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (foreign_imports, "jose/encoding.py", "import json, msgspec\nimport tokenkeep.jose.errors"),
        (impurities, "jose/jwt.py", "import time\nx = time.time()"),
        (impurities, "domain/sessions.py", "from tokenkeep.domain import secrets\ndef judge(now): return now"),
        (impurities, "flows/login.py", "import secrets\nasync def login(): ..."),
        (guarded_imports, "server.py", "from tokenkeep.settings.options import Settings"),
        (status_numbers, "api/problems.py", "x = {'not_found': 404}"),
        (status_numbers, "verifier/jwks.py", "x = answer.status_code == 304"),
        (undocumented, "jose/jws.py", '"""Doc."""\ndef _split(): ...'),
    ],
)
def test_rule_lets_the_innocent_pass(rule: Callable[[Module], Iterator[Offence]], path: str, text: str) -> None:
    """What has its named place is not an offence there."""
    assert list(rule(Module.parse(path, text))) == []


def test_what_a_module_exports_exists() -> None:
    """Every name in an `__all__` is there, without duplicates."""
    for module in MODULES:
        if "__all__" not in module.text:
            continue
        name = ".".join(["tokenkeep", *module.path.removesuffix(".py").removesuffix("__init__").split("/")]).rstrip(".")
        imported = importlib.import_module(name)
        assert [export for export in imported.__all__ if not hasattr(imported, export)] == [], name
        assert len(set(imported.__all__)) == len(imported.__all__), name


SERVER_PARTS = ("api", "cli", "domain", "flows", "observability", "passwords", "server", "settings", "storage")
SERVER_ONLY = {f"tokenkeep.{part}" for part in SERVER_PARTS}
ENGINE_LIBRARIES = {"cryptography", "msgspec", "bcrypt"}  # cryptography loads bcrypt by itself where it is installed
SERVER_LIBRARIES = THIRD_PARTIES.keys() - ENGINE_LIBRARIES - {"httpx2"} | STANDARD_LIBRARY.keys() | {"uvicorn"}


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("tokenkeep", SERVER_ONLY | SERVER_LIBRARIES | {"httpx2"}),
        ("tokenkeep.verifier", SERVER_ONLY | SERVER_LIBRARIES | {"httpx2"}),
        ("tokenkeep.verifier.asgi", SERVER_ONLY | SERVER_LIBRARIES | {"httpx2"}),
        ("tokenkeep.verifier.fastapi", SERVER_ONLY | SERVER_LIBRARIES - {"fastapi", "starlette"} | {"httpx2"}),
        ("tokenkeep.server", {"asyncpg", "redis", "fastapi", "granian", "click"}),
    ],
)
def test_an_import_loads_only_what_it_needs(imported: str, unwanted: set[str]) -> None:
    """The engine and the verifier load no server and no driver; the server loads no driver it was not told to use."""
    program = f"import sys, {imported}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert unwanted & set(answer.stdout.split()) == set()
