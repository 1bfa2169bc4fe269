"""Writes the client certificate's files: the secret's JSON on standard input, the folder as the only argument.

`client.pem` (certificate and key), `authority.pem`, and `server-name` for the name that the gateway has to bear.
"""

import json
import os
import sys
from pathlib import Path

_FIELDS = ("certificate", "key", "authority", "server_name")


def main() -> int:
    """1 when the secret lacks something; its name is said, never a value."""
    try:
        found = json.load(sys.stdin)
        missing = [name for name in _FIELDS if not str(found.get(name) or "").strip()]
    except (ValueError, AttributeError):
        missing = list(_FIELDS)
    if missing:
        print(f"error: the client certificate's secret lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    folder = Path(sys.argv[1])
    os.umask(0o077)
    (folder / "client.pem").write_text(f"{found['certificate'].strip()}\n{found['key'].strip()}\n")
    (folder / "authority.pem").write_text(f"{found['authority'].strip()}\n")
    (folder / "server-name").write_text(found["server_name"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
