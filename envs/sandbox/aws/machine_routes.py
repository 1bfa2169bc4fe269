"""The side of Systems Manager that the agent on a machine talks to; here the emulated machines do."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from moto.core.exceptions import JsonRESTError
from werkzeug.wrappers import Request, Response

from envs.sandbox.account import Account
from envs.sandbox.aws import ssm


def table(account: Account) -> Mapping[str, Callable[[Request], Response]]:
    """Path -> what answers it, all of them unsigned.

    * ``GET /fleetstream/ssm/register?instance=``: the machine's agent reports: 200; 403 when it does not run or its
      role does not let it
    * ``GET /fleetstream/ssm/next?instance=``: the next command for it: 200 ``{"command_id", "script", "timeout_s"}``,
      or 204; 403 before it is registered
    * ``GET /fleetstream/ssm/status?command_id=&instance=``: how its part of a command stands: 200 ``{"status"}``;
      one that is Cancelling is to be stopped
    * ``POST /fleetstream/ssm/result`` with ``{"command_id", "instance", "status", "exit_code", "stdout", "stderr"}``:
      how it went: 200; 400 when that does not fit; `status` is Success, Failed, TimedOut or Cancelled

    Each answers ``{"error"}`` when it refuses.
    """
    return {
        "/fleetstream/ssm/register": partial(_register, account),
        "/fleetstream/ssm/next": partial(_next, account),
        "/fleetstream/ssm/status": partial(_status, account),
        "/fleetstream/ssm/result": partial(_result, account),
    }


def _register(account: Account, request: Request) -> Response:
    instance = request.args.get("instance")
    if not instance:
        return _answer({"error": "the parameter `instance` is missing"}, 400)
    try:
        ssm.backend_of(account.account_id, account.region).register(instance)
    except ssm.NotManagedError as error:
        return _answer({"error": str(error)}, 403)
    return _answer({})


def _next(account: Account, request: Request) -> Response:
    instance = request.args.get("instance")
    if not instance:
        return _answer({"error": "the parameter `instance` is missing"}, 400)
    try:
        found = ssm.backend_of(account.account_id, account.region).next(instance)
    except ssm.NotManagedError as error:
        return _answer({"error": str(error)}, 403)
    if found is None:
        return Response(status=204)
    return _answer({"command_id": found.command_id, "script": found.script, "timeout_s": found.execution_s})


def _status(account: Account, request: Request) -> Response:
    command, instance = request.args.get("command_id"), request.args.get("instance")
    if not command or not instance:
        return _answer({"error": "the parameters `command_id` and `instance` are needed"}, 400)
    try:
        return _answer({"status": ssm.backend_of(account.account_id, account.region).status(command, instance)})
    except JsonRESTError as error:
        return _answer({"error": f"no such command: {error.error_type}"}, 400)


def _result(account: Account, request: Request) -> Response:
    if request.method != "POST":
        return _answer({"error": "a result is posted"}, 405)
    try:
        told: dict[str, Any] = orjson.loads(request.get_data())
        ssm.backend_of(account.account_id, account.region).result(
            told["command_id"],
            told["instance"],
            told["status"],
            int(told["exit_code"]),
            str(told["stdout"]),
            str(told["stderr"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        return _answer({"error": f"the result does not fit: {error}"}, 400)
    except JsonRESTError as error:
        return _answer({"error": f"no such command: {error.error_type}"}, 400)
    return _answer({})


def _answer(body: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")
