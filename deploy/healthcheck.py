"""Ends with 0 if the server of this container lives. HEALTHCHECK of the Dockerfile runs it.

Port and https are told by the variables `TOKENKEEP_PORT` and `TOKENKEEP_TLS_CERT`; no other setting is read.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import CERT_NONE, create_default_context
from typing import Final

TIMEOUT: Final = 4.0
"""Seconds to wait for the answer."""


def lives() -> bool:
    """Tell whether `/livez` is answered with success."""
    port = int(os.environ.get("TOKENKEEP_PORT", "8000"))
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    if os.environ.get("TOKENKEEP_TLS_CERT"):
        # The certificate is for the public name, and this is the container's own loopback.
        context = create_default_context()
        context.check_hostname = False
        context.verify_mode = CERT_NONE
        connection = HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if lives() else 1)
