"""Measures signing and verifying: the engine, the bare call below it, and its peers, side by side in one run.

    python bench/engine.py [--node-modules FOLDER] [--rounds N] [ALGORITHM …]

Contenders take turns in every round, so that what else the machine does meets all alike. Printed are medians in
microseconds, the spread between the 10th and the 90th percentile, and the ratio to the bare call. All verify the same
token of seven claims with a prepared key, and check issuer, audience and expiry. Peers take part when they are
installed: PyJWT and joserfc in this Python; jsonwebtoken, jose and fast-jwt in the node_modules folder given.
"""

import argparse
import gc
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tokenkeep.jose import ClaimsPolicy, Key, jwt

ALGORITHMS = ["HS256", "RS256", "PS256", "ES256", "EdDSA"]
BATCH_SECONDS = 0.004
ISSUER, AUDIENCE, SUBJECT = "https://auth.example.com", "https://api.example.com", "8d7f4f52a0c1"
CUSTOM = {"scope": "read write", "role": "admin"}
LIFETIME = timedelta(hours=1)

# What takes a number of turns and returns the seconds they took.
Timed = Callable[[int], float]
# Contenders of one algorithm: operation -> name -> turns.
Contest = dict[str, dict[str, Timed]]


def timed(call: Callable[[], object]) -> Timed:
    """Return a call as something that takes turns."""

    def turns(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - started

    return turns


def bare_calls(alg: str, key: Key, data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return sign and verify as the primitive alone, with everything around it prepared."""
    signing, verifying = key._signing, key._verifying
    if alg == "HS256":
        context = hmac.HMAC(key._source.value, hashes.SHA256())

        def mac() -> hmac.HMAC:
            copy = context.copy()
            copy.update(data)
            return copy

        tag = mac().finalize()
        return lambda: mac().finalize(), lambda: mac().verify(tag)
    arguments: tuple[Any, ...] = {
        "RS256": (padding.PKCS1v15(), hashes.SHA256()),
        "PS256": (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        "ES256": (ec.ECDSA(hashes.SHA256()),),
    }.get(alg, ())
    signature = signing.sign(data, *arguments)
    return lambda: signing.sign(data, *arguments), lambda: verifying.verify(signature, data, *arguments)


def engine(contest: Contest, key: Key, token: str) -> None:
    """Enter the engine: the plain calls, and verifying with a policy made before."""
    public = key if key.alg == "HS256" else key.public()
    algorithms = [key.alg]
    policy = ClaimsPolicy(ISSUER, AUDIENCE)
    contest["sign"]["tokenkeep"] = timed(
        lambda: jwt.issue(
            CUSTOM,
            key,
            issuer=ISSUER,
            subject=SUBJECT,
            audience=AUDIENCE,
            lifetime=LIFETIME,
            token_id="0000000000000000000000",
        )
    )
    contest["verify"]["tokenkeep"] = timed(
        lambda: jwt.verify(token, public, algorithms=algorithms, issuer=ISSUER, audience=AUDIENCE)
    )
    contest["verify"]["tokenkeep, policy"] = timed(
        lambda: jwt.verify_with_policy(token, public, policy, algorithms=algorithms)
    )


def pyjwt(contest: Contest, key: Key, token: str, claims: dict[str, Any]) -> None:
    """Enter PyJWT, with key objects loaded before."""
    import jwt as peer

    if key.alg == "HS256":
        signing = verifying = key._source.value
    else:
        signing, verifying = key._signing, key._verifying
    algorithms = [key.alg]
    header = {"kid": key.kid}
    contest["sign"]["PyJWT"] = timed(lambda: peer.encode(claims, signing, key.alg, headers=header))
    contest["verify"]["PyJWT"] = timed(
        lambda: peer.decode(token, verifying, algorithms, issuer=ISSUER, audience=AUDIENCE)
    )


def joserfc(contest: Contest, key: Key, token: str, claims: dict[str, Any]) -> None:
    """Enter joserfc, with its keys and its claims registry made before."""
    from joserfc import jwk
    from joserfc import jwt as peer

    signing = jwk.import_key(key.to_jwk(private=True))
    verifying = signing if key.alg == "HS256" else jwk.import_key(key.to_jwk())
    algorithms = [key.alg]
    header = {"alg": key.alg, "kid": key.kid}
    registry = peer.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
    )
    contest["sign"]["joserfc"] = timed(lambda: peer.encode(header, claims, signing, algorithms=algorithms))
    contest["verify"]["joserfc"] = timed(
        lambda: registry.validate(peer.decode(token, verifying, algorithms=algorithms).claims)
    )


NODE_PROGRAM = """
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto';
import { pathToFileURL } from 'node:url';
const setup = JSON.parse(process.argv[1]);
const require = createRequire(setup.folder + '/x.js');
const { alg, token, claims, issuer, audience } = setup;
const symmetric = alg === 'HS256';
const signing = symmetric ? createSecretKey(Buffer.from(setup.key, 'base64url')) : createPrivateKey(setup.key);
const verifying = symmetric ? signing : createPublicKey(signing);
const calls = {}, versions = {};
const load = async (name, enter) => {
  try { await enter(name); versions[name] = require(name + '/package.json').version; }
  catch (error) { if (process.env.DEBUG) console.error(name, error); }
};
await load('jsonwebtoken', name => {
  const peer = require(name);
  if (alg === 'EdDSA') return;
  calls['sign ' + name] = () => peer.sign(claims, signing, { algorithm: alg, keyid: setup.kid });
  calls['verify ' + name] = () => peer.verify(token, verifying, { algorithms: [alg], issuer, audience });
});
await load('jose', async name => {
  const peer = await import(pathToFileURL(require.resolve(name)));
  calls['sign ' + name] = () => new peer.SignJWT(claims).setProtectedHeader({ alg, kid: setup.kid }).sign(signing);
  calls['verify ' + name] = () => peer.jwtVerify(token, verifying, { algorithms: [alg], issuer, audience });
});
await load('fast-jwt', name => {
  const peer = require(name);
  const pem = symmetric ? Buffer.from(setup.key, 'base64url') : setup.key;
  const open = symmetric ? pem : verifying.export({ type: 'spki', format: 'pem' });
  calls['sign ' + name] = peer.createSigner({ key: pem, algorithm: alg, kid: setup.kid });
  const wanted = { key: open, algorithms: [alg], allowedIss: issuer, allowedAud: audience, cache: false };
  calls['verify ' + name] = peer.createVerifier(wanted);
  const sign = calls['sign ' + name], verify = calls['verify ' + name];
  calls['sign ' + name] = () => sign(claims);
  calls['verify ' + name] = () => verify(token);
});
for (const [name, call] of Object.entries(calls)) {
  try { await call(); } catch (error) { delete calls[name]; console.error(name, error.message); }
}
console.log(JSON.stringify({ names: Object.keys(calls), versions }));
for await (const line of createInterface({ input: process.stdin })) {
  const [count, name] = JSON.parse(line);
  const call = calls[name];
  const started = process.hrtime.bigint();
  if (name.endsWith(' jose')) for (let i = 0; i < count; i++) await call();
  else for (let i = 0; i < count; i++) call();
  console.log(Number(process.hrtime.bigint() - started) / 1e9);
}
"""


class NodePeers:
    """A child process of Node that takes turns on command; none when Node or the folder is missing."""

    def __init__(self, folder: Path, key: Key, token: str, claims: dict[str, Any]) -> None:
        setup = {
            "folder": str(folder.resolve()),
            "alg": key.alg,
            "kid": key.kid,
            "token": token,
            "claims": claims,
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "key": key.to_jwk(private=True)["k"] if key.alg == "HS256" else key.to_pem(private=True).decode(),
        }
        self.process = subprocess.Popen(
            ["node", "--input-type=module", "-e", NODE_PROGRAM, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = json.loads(self.line() or '{"names": [], "versions": {}}')
        self.names: list[str] = answer["names"]
        self.versions: dict[str, str] = answer["versions"]

    def line(self) -> str:
        """Return the next line of the child."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def turns(self, name: str) -> Timed:
        """Return one of the child's calls as something that takes turns."""

        def take(count: int) -> float:
            assert self.process.stdin
            self.process.stdin.write(json.dumps([count, name]) + "\n")
            self.process.stdin.flush()
            return float(self.line())

        return take

    def enter(self, contest: Contest) -> None:
        """Enter every peer that answered."""
        for full in self.names:
            operation, name = full.split(" ")
            contest[operation][name] = self.turns(full)

    def close(self) -> None:
        """End the child."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=10)


def measure(contenders: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns, and return the microseconds of one call in each round."""
    counts = {}
    for name, turns in contenders.items():
        turns(20)
        once = turns(20) / 20
        counts[name] = max(3, int(BATCH_SECONDS / once))
        turns(counts[name])
    results: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    try:
        for number in range(rounds):
            order = list(contenders)
            for name in order[number % len(order) :] + order[: number % len(order)]:
                results[name].append(contenders[name](counts[name]) / counts[name] * 1e6)
            gc.collect()
    finally:
        gc.enable()
    return results


def report(alg: str, operation: str, results: dict[str, list[float]]) -> None:
    """Print one table."""
    bare = statistics.median(results["bare call"])
    ours = statistics.median(results["tokenkeep"])
    print(f"\n{alg} {operation:<24} {'median':>9} {'p10 … p90':>19} {'to bare':>9} {'to ours':>9}")
    for name, values in results.items():
        deciles = statistics.quantiles(values, n=10)
        median = statistics.median(values)
        spread = f"{deciles[0]:.2f} … {deciles[-1]:.2f}"
        print(f"  {name:<29} {median:>7.2f}µs {spread:>19} {median / bare:>8.2f}× {median / ours:>8.2f}×")


def compete(alg: str, rounds: int, folder: Path | None) -> None:
    """Run both contests of an algorithm."""
    key = Key.generate(alg, kid="2026-01", rsa_bits=2048)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 3600,
        "jti": "0" * 22,
        **CUSTOM,
    }
    token = jwt.issue(
        CUSTOM, key, issuer=ISSUER, subject=SUBJECT, audience=AUDIENCE, lifetime=LIFETIME, token_id="0" * 22, now=now
    )
    sign, verify = bare_calls(alg, key, token.rpartition(".")[0].encode())
    contest: Contest = {"sign": {"bare call": timed(sign)}, "verify": {"bare call": timed(verify)}}
    engine(contest, key, token)
    for enter in (pyjwt, joserfc):
        try:
            enter(contest, key, token, claims)
        except ImportError:
            continue
    peers = NodePeers(folder, key, token, claims) if folder is not None else None
    if peers:
        peers.enter(contest)
    for operation, contenders in contest.items():
        report(alg, operation, measure(contenders, rounds))
    if peers:
        peers.close()


def main() -> int:
    """Read the arguments, say what is compared, and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algorithms", nargs="*", default=ALGORITHMS, metavar="ALGORITHM")
    parser.add_argument("--node-modules", type=Path, help="a node_modules folder with jsonwebtoken, jose, fast-jwt")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    folder = options.node_modules if shutil.which("node") else None
    versions = {"Python": platform.python_version()}
    for name in ("cryptography", "msgspec", "PyJWT", "joserfc"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    for name in ("jsonwebtoken", "jose", "fast-jwt"):
        manifest = folder / name / "package.json" if folder else None
        versions[name] = json.loads(manifest.read_text())["version"] if manifest and manifest.exists() else "absent"
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    for alg in options.algorithms:
        compete(alg, options.rounds, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
