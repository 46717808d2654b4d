"""Builds the table of publicly known secrets that the token engine refuses.

    python tools/build_known_secrets.py LIST LICENCE

LIST is a text with one secret a line, LICENCE the text of its licence. Only secrets of 32 bytes and more get in: the
engine refuses shorter ones for their length. The result is the same for the same list, whatever its order.
"""

import hashlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "tokenkeep" / "jose"
SHORTEST_ACCEPTED = 32
DIGEST_SIZE = 8


def table_of(lines: list[bytes]) -> bytes:
    """Return the sorted, truncated SHA-256 digests of the secrets that are long enough to be accepted otherwise."""
    secrets = {line.rstrip(b"\r") for line in lines}
    secrets |= {secret.strip() for secret in secrets}
    digests = {hashlib.sha256(s).digest()[:DIGEST_SIZE] for s in secrets if len(s) >= SHORTEST_ACCEPTED}
    return b"".join(sorted(digests))


def main(arguments: list[str]) -> int:
    """Read the list, write the table and its licence beside it."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    source, licence = Path(arguments[0]), Path(arguments[1])
    table = table_of(source.read_bytes().split(b"\n"))
    (PACKAGE / "known_secrets.bin").write_bytes(table)
    (PACKAGE / "known_secrets.LICENSE").write_bytes(licence.read_bytes())
    print(f"{len(table) // DIGEST_SIZE} secrets, {len(table)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
