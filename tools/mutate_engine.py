"""Breaks the token engine in many small ways and checks that the tests notice each.

    python tools/mutate_engine.py [MODULE …] [--jobs N] [--list]

Each mutant is one module of `tokenkeep.jose` with one check taken out, one limit moved by one or one answer turned
round, in a copy of the sources; the working tree is never touched. A mutant survives when all tests of the engine pass
on it. Survivors that cannot be told from the original by any test are listed below with the reason.
"""

import argparse
import ast
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = Path("src/tokenkeep/jose")
MODULES = [path.stem for path in sorted((ROOT / ENGINE).glob("*.py")) if path.stem not in {"__init__", "errors"}]
TIMEOUT = 300

TESTS = [
    "tests/jose",
    *(f"tests/attacks/test_{name}.py" for name in ("key_confusion", "costly_keys", "forgeries", "token_advisories")),
]
# The tests most likely to notice, tried first; whatever they let live meets all tests.
NEAREST = {
    "arguments": ["jose/test_jwt.py", "jose/test_callers.py", "jose/test_claims.py"],
    "compact": ["jose/test_jws.py"],
    "hmac_secrets": ["jose/test_hmac_secrets.py"],
    "key_cost": ["attacks/test_costly_keys.py"],
    "key_encodings": ["attacks/test_key_confusion.py"],
    "key_ids": ["jose/test_keys.py", "jose/test_callers.py"],
    "key_pair": ["jose/test_pem.py", "jose/test_keys.py"],
    "material": ["jose/test_jwk.py", "jose/test_keys.py"],
}

# Mutants that behave like the original, by module and what was done: the reason why no test can tell.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("algorithms", "without: kind is not list"): "a short cut: a list is a Sequence as well",
    ("algorithms", "without: kind is not tuple"): "a short cut: a tuple is a Sequence as well",
    ("arguments", "never: type(given) is str"): "a short cut: the value of a plain string is itself",
    ("encoding", "one more: _LONGEST_INTEGER: Final = 4300"): "what is around an integer makes the text longer still",
    (
        "encoding",
        (
            "never: type(mapping) is dict and _TEXT.issuperset(map(type, mapping))"
            " and _SIMPLE.issuperset(map(type, mapping.values()))"
        ),
    ): "a short cut: the copy of what needs no copying is the same",
    (
        "encoding",
        "without: data.rfind(b'{') == 0 and data.rfind(b'[') < 0",
    ): "a short cut: looking at each value finds the same",
    (
        "encoding",
        "without: _CONTAINERS.isdisjoint(map(type, value.values()))",
    ): "a short cut: what is taken for nested is looked at once more",
    (
        "encoding",
        "never: _SIMPLE.issuperset(map(type, listed))",
    ): "a short cut: the copy of what needs no copying is the same",
    ("encoding", "never: type(item) in _SIMPLE"): "a short cut: what is simple comes back as it is",
    ("encoding", "without: not flat"): "a short cut: the exact count finds that nothing is nested",
    ("encoding", "without: data.count(b'{') + data.count(b'[') > MAX_DEPTH"): "a short cut: the exact count is made",
    ("encoding", "boundary 0: len(text) > _LONGEST_INTEGER"): "one more text is read once more",
    ("encoding", "boundary 0: data.rfind(b'[') < 0"): "where the text begins with a brace, no bracket does",
    ("encoding", "boundary 0: data.count(b'{') + data.count(b'[') > MAX_DEPTH"): "one more text is counted exactly",
    ("hmac_secrets", "without: algorithm.hash is None"): "what has no hash takes no secret; only the type checker asks",
    ("jwt", "without: type(claims) is not dict"): "a short cut: a dict is a Mapping as well",
    ("jwt", "without: isinstance(keys, KEYS)"): "a key is no Mapping; said first for the reader",
    ("jwt", "without: type(audience) is list"): "a short cut: what is no plain list is read name by name",
    ("jwt", "without: type(audience) is tuple"): "a short cut: what is no plain tuple is read name by name",
    ("jwk", "without: ''"): "no curve is named None; only the type checker asks",
    ("jwt", "never: isinstance(error, WrongType)"): "a short cut: the constructor finds the same mistake once more",
    ("jwt", "never: plain"): "a short cut: the names are read one by one, and are the same",
    (
        "key_encodings",
        "upper only: 0 <= size - (last - first) <= _MOST_BLANKS",
    ): "a short cut: where there are more bytes than a point has, there is no place to begin at",
    ("key_encodings", "one more: _LAYERS: Final = 2"): "a bound on how far is looked: further finds more, never less",
    ("key_encodings", "without: layers == 0"): "as above",
    ("key_encodings", "one more: _LEADING_WORDS: Final = 3"): "as above",
    ("key_encodings", "one more: _MOST_BLANKS: Final = 4"): "as above",
    ("key_encodings", "never: b'\\\\' not in text"): "a short cut: without a backslash there is nothing to replace",
    ("material", "without: ''"): "no curve is named None; only the type checker asks",
    (
        "material",
        "never: numbers.p * numbers.q != modulus",
    ): "the library compares them too; ours comes before anything that takes long, whatever the library does first",
    ("pem", "without: label in _OLD_LABELS"): "the library refuses that header over a PKCS #8 by itself, for now",
    ("jws", "without: ''"): "the header's algorithm was accepted before, so it is a text; only the type checker asks",
    ("keys", "without: 0"): "every HMAC algorithm has a signature size; only the type checker asks",
}

BOUNDARIES: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
}


@dataclass(frozen=True)
class Mutant:
    """A module in which one thing is wrong."""

    module: str
    line: int
    what: str
    source: str


def alterations(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what can be done to one node: a name for it, and the node after it."""
    if isinstance(node, ast.If | ast.IfExp):
        altered = deepcopy(node)
        altered.test = ast.Constant(value=False)
        yield f"never: {ast.unparse(node.test)}", altered
    if isinstance(node, ast.BoolOp):
        for at, operand in enumerate(node.values):
            altered = deepcopy(node)
            del altered.values[at]
            yield f"without: {ast.unparse(operand)}", altered if len(altered.values) > 1 else altered.values[0]
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if type(operator) in BOUNDARIES:
                altered = deepcopy(node)
                altered.ops[at] = BOUNDARIES[type(operator)]
                yield f"boundary {at}: {ast.unparse(node)}", altered
        if len(node.ops) == 2:
            first, second = deepcopy(node), deepcopy(node)
            yield (
                f"upper only: {ast.unparse(node)}",
                ast.Compare(first.comparators[0], [first.ops[1]], [first.comparators[1]]),
            )
            yield f"lower only: {ast.unparse(node)}", ast.Compare(second.left, [second.ops[0]], [second.comparators[0]])
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield f"not called: {ast.unparse(node.value)}", ast.Pass()
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
        yield f"opposite: {ast.unparse(node)}", ast.Return(value=ast.Constant(value=not node.value.value))
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant) and type(node.value.value) is int:
        altered = deepcopy(node)
        altered.value = ast.Constant(value=node.value.value + 1)
        yield f"one more: {ast.unparse(node)}", altered


class Replacing(ast.NodeTransformer):
    """Replaces one node, told by its place in the order of the walk, by another."""

    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        """Return the replacement for the target and walk on otherwise."""
        return self.replacement if node is self.target else self.generic_visit(node)


def mutants_of(module: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    text = (ROOT / ENGINE / f"{module}.py").read_text()
    count = sum(1 for _ in ast.walk(ast.parse(text)))
    for at in range(count):
        node = next(node for index, node in enumerate(ast.walk(ast.parse(text))) if index == at)
        for index, (what, _) in enumerate(alterations(node)):
            tree = ast.parse(text)
            target = next(node for place, node in enumerate(ast.walk(tree)) if place == at)
            replacement = list(alterations(target))[index][1]
            changed = ast.fix_missing_locations(Replacing(target, replacement).visit(tree))
            yield Mutant(module, getattr(node, "lineno", 0), what, ast.unparse(changed))


def survives(mutant: Mutant, workspace: Path) -> bool:
    """Tell whether all tests of the engine pass on a mutant."""
    target = workspace / ENGINE / f"{mutant.module}.py"
    original = target.read_text()
    target.write_text(mutant.source)
    try:
        nearest = NEAREST.get(mutant.module, [f"jose/test_{mutant.module}.py"])
        return passes([f"tests/{name}" for name in nearest], workspace) and passes(TESTS, workspace)
    finally:
        target.write_text(original)


def passes(tests: list[str], workspace: Path) -> bool:
    """Run some tests on the sources of a workspace."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(workspace / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(workspace / "hypothesis"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Without the conftest of the whole project, which needs the server; the same inputs for every mutant.
    command += ["--confcutdir=tests/jose", "--hypothesis-profile=ci"]
    existing = [test for test in tests if (ROOT / test).exists()]
    if not existing:
        return True
    while True:
        try:
            done = subprocess.run(
                command + existing, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode >= 0:  # otherwise somebody ended the run from outside, which says nothing
            return done.returncode == 0


def main() -> int:
    """Make the mutants, run the tests on each, and tell which live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only say which mutants there are")
    options = parser.parse_args()
    mutants = [mutant for module in options.modules for mutant in mutants_of(module)]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.module}:{mutant.line} {mutant.what}")
        return 0
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        workspaces: queue.Queue[Path] = queue.Queue()
        for number in range(options.jobs):
            workspace = Path(folder) / str(number)
            shutil.copytree(ROOT / "src", workspace / "src", ignore=shutil.ignore_patterns("__pycache__"))
            workspaces.put(workspace)

        healthy = workspaces.get()
        if not passes(TESTS, healthy):
            print("the tests fail on the sources as they are")
            return 2
        workspaces.put(healthy)

        def judge(mutant: Mutant) -> tuple[Mutant, bool]:
            workspace = workspaces.get()
            try:
                return mutant, survives(mutant, workspace)
            finally:
                workspaces.put(workspace)

        alive = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            judged = as_completed([pool.submit(judge, mutant) for mutant in mutants])
            for number, (mutant, survived) in enumerate((done.result() for done in judged), 1):
                if number % 25 == 0:
                    print(f"{number} of {len(mutants)} judged", flush=True)
                if survived:
                    alive += 1
                    reason = EQUIVALENT.get((mutant.module, mutant.what))
                    unexplained += reason is None
                    print(
                        f"{'equivalent' if reason else 'SURVIVED  '} {mutant.module}:{mutant.line} {mutant.what}",
                        flush=True,
                    )
    print(f"{len(mutants)} mutants, {len(mutants) - alive} killed, {alive} alive, {unexplained} of them unexplained")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
