"""Builds the table of publicly known secrets and keys that the token engine refuses.

    python tools/build_known_secrets.py [LIST LICENCE]

The sources lie in tools/published_secrets: `listed.txt`, what others collected, with its licence; `examples.txt`,
secrets of standards, tutorials and templates; `example_keys.txt`, thumbprints of key pairs whose private half was
printed. LIST, one secret a line, renews `listed.txt`, which keeps only what the other rules of the engine let pass.
"""

import base64
import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tools" / "published_secrets"
PACKAGE = ROOT / "src" / "tokenkeep" / "jose"
# What is shorter or less varied is refused without a table; three NULs at the end of 32 bytes are let pass.
SHORTEST, LEAST_VARIED = 29, 8
DIGEST_SIZE = 8


def usable(secret: bytes) -> bool:
    """Tell whether nothing but the table keeps bytes from becoming a secret."""
    return len(secret) >= SHORTEST and len(set(secret)) >= LEAST_VARIED


def forms(secret: bytes) -> Iterator[bytes]:
    """Yield a secret, and what it holds when it is read as base64, base64url or hexadecimal digits."""
    yield from (form.rstrip(b"\0") for form in readings(secret))


def readings(secret: bytes) -> Iterator[bytes]:
    """Yield a text and every way to decode it; many decoders of base64 pass over characters that are none of theirs."""
    yield secret
    for text in (secret, secret.translate(bytes.maketrans(b"-_", b"+/"))):
        run = b"".join(re.findall(rb"[A-Za-z0-9+/]+", text.partition(b"=")[0]))
        run = run[:-1] if len(run) % 4 == 1 else run
        yield base64.b64decode(run + b"=" * (-len(run) % 4))
    with suppress(ValueError):
        yield bytes.fromhex(secret.decode("ascii"))


def entries(name: str) -> list[bytes]:
    """Return the lines of one of our own sources without its comments."""
    lines = (SOURCES / name).read_bytes().splitlines()
    return [line for line in lines if line and not line.startswith(b"# ")]


def table() -> bytes:
    """Return the sorted, truncated SHA-256 digests of all secrets in all their forms, and of all keys."""
    secrets = [*(SOURCES / "listed.txt").read_bytes().splitlines(), *entries("examples.txt")]
    digests = {hashlib.sha256(form).digest() for secret in secrets for form in forms(secret) if usable(form)}
    for line in entries("example_keys.txt"):
        thumbprint = line.split()[0]
        digests.add(base64.urlsafe_b64decode(thumbprint + b"="))
    return b"".join(sorted({digest[:DIGEST_SIZE] for digest in digests}))


def renew(listed: Path, licence: Path) -> None:
    """Take over what is of use in a list, and its licence; the result does not depend on the order of the list."""
    secrets = {line.strip() for line in listed.read_bytes().split(b"\n")}
    kept = sorted(secret for secret in secrets if any(map(usable, forms(secret))))
    (SOURCES / "listed.txt").write_bytes(b"".join(secret + b"\n" for secret in kept))
    (SOURCES / "listed.LICENSE").write_bytes(licence.read_bytes())


def main(arguments: list[str]) -> int:
    """Renew the list when one is given, and write the table and the licence of the list into the package."""
    if len(arguments) not in (0, 2):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments:
        renew(Path(arguments[0]), Path(arguments[1]))
    built = table()
    (PACKAGE / "known_secrets.bin").write_bytes(built)
    (PACKAGE / "known_secrets.LICENSE").write_bytes((SOURCES / "listed.LICENSE").read_bytes())
    print(f"{len(built) // DIGEST_SIZE} entries, {len(built)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
