"""sfctl for a cluster whose certificates bear its own name, not the address of the load balancer before it.

Service Fabric's servers are known by their authority and their common name. sfctl compares the address with the
certificate instead, and its options --ca and --no-verify do not reach the requests that go through msrest. Here the
name to expect is `FABRIC_SERVER_NAME`, and the authority the file that `REQUESTS_CA_BUNDLE` names, for every request.

Runs in the environment of requirements.txt: python sfctl_by_name.py cluster health
"""

import os
import sys
from typing import Any

import joblib
import requests.sessions
from requests.adapters import HTTPAdapter
from sfctl.entry import launch


class _ByServerName(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_hostname=os.environ["FABRIC_SERVER_NAME"], **kwargs)


def main() -> None:
    """One command of sfctl; ends the process."""
    requests.sessions.HTTPAdapter = _ByServerName
    # Uploads run in threads: the processes that sfctl would start know nothing of the line above.
    with joblib.parallel_config(backend="threading"):
        sys.exit(launch())


if __name__ == "__main__":
    main()
