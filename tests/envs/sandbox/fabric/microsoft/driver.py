# pyright: reportMissingImports=false
"""Runs in the environment of Microsoft's clients: the gateway's address, then a line of JSON in, a line of JSON out.

{"sfctl": [arguments]} is one command; {"call": name, "arguments": {...}} is a call of `ServiceFabricClientAPIs`.
"""

import contextlib
import io
import json
import sys

ERRORS = io.StringIO()
"""One for all commands: sfctl's log keeps to the stream that it found at the first."""


def command(arguments):
    """One command of sfctl, as its entry point runs it."""
    from sfctl.entry import cli

    out = io.StringIO()
    ERRORS.seek(0)
    ERRORS.truncate()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(ERRORS):
        try:
            code = cli().invoke(arguments, out_file=out)
        except SystemExit as error:
            code = error.code
    return {"code": code, "out": out.getvalue(), "err": ERRORS.getvalue()}


def call(client, name, arguments):
    """One call; models are shown as the service sent them."""
    from azure.servicefabric import models

    kind = arguments.pop("model", None)
    positional = [getattr(models, kind[0])(**kind[1])] if kind else []
    try:
        answer = getattr(client, name)(*positional, **arguments)
    except models.FabricErrorException as error:
        return {"refused": error.error.error.code, "message": error.error.error.message}
    return {"answer": answer.as_dict() if hasattr(answer, "as_dict") else answer}


def main():
    """Until the input ends."""
    from azure.servicefabric import ServiceFabricClientAPIs
    from sfctl.auth import ClientCertAuthentication

    client = ServiceFabricClientAPIs(ClientCertAuthentication(), base_url=sys.stdin.readline().strip())
    client.config.retry_policy.policy.total = 0
    for line in sys.stdin:
        asked = json.loads(line)
        told = command(asked["sfctl"]) if "sfctl" in asked else call(client, asked["call"], asked["arguments"])
        print(json.dumps(told), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
