"""Routes for drills: what a person or a test does to the emulated account that no client of AWS can."""

from collections.abc import Callable, Mapping
from functools import partial

import orjson
from moto.awslambda.exceptions import LambdaClientError
from moto.core.exceptions import JsonRESTError
from werkzeug.wrappers import Request, Response

from envs.sandbox.account import Account
from envs.sandbox.aws import events
from envs.sandbox.aws.event_delivery import Faults
from envs.sandbox.aws.kills import Kill, Kills


def table(account: Account, kills: Kills) -> Mapping[str, Callable[[Request], Response]]:
    """Path -> what answers it, all of them unsigned GETs.

    * ``/fleetstream/events/fire?rule=``: a scheduled rule fires now: 200 ``{"id"}`` of its event
    * ``/fleetstream/events/faults?copies=&delay_s=&rule=``: from now on each event is delivered so often (0: lost)
      and so late; of one rule or of all; without parameters all is well again: 200 with what is in force
    * ``/fleetstream/functions/kill?function=``: the function's workers are killed: 200 ``{"killed"}``
    * ``/fleetstream/functions/kill?function=&after=SERVICE:OPERATION``: once, after the next such call with the
      function's role was carried out and before its answer is sent: 200 ``{"after"}``
    * ``/fleetstream/functions/kills?function=``: what of the second kind is still to come: 200 ``{"coming"}``, its
      ``after``; with ``&spare=true`` it is forgotten, and told one last time

    Each answers 404 ``{"error"}`` for what is not there, and 400 for parameters that are missing or make no sense.
    """
    return {
        "/fleetstream/events/fire": partial(_fire, account),
        "/fleetstream/events/faults": _faults,
        "/fleetstream/functions/kill": partial(_kill, kills),
        "/fleetstream/functions/kills": partial(_coming, kills),
    }


def _fire(account: Account, request: Request) -> Response:
    rule = request.args.get("rule")
    if not rule:
        return _refusal("the parameter `rule` is missing")
    try:
        return _answer({"id": events.fire(account.account_id, account.region, rule)})
    except JsonRESTError as error:
        return _refusal(str(error.message), 404)


def _faults(request: Request) -> Response:
    try:
        faults = Faults(
            int(request.args.get("copies", 1)),
            float(request.args.get("delay_s", 0)),
            request.args.get("rule", ""),
        )
        if faults.copies < 0 or faults.delay_s < 0:
            raise ValueError("`copies` and `delay_s` cannot be negative")
    except ValueError as error:
        return _refusal(str(error))
    events.RulesBackend.desk.faults = faults
    return _answer({"copies": faults.copies, "delay_s": faults.delay_s, "rule": faults.rule})


def _kill(kills: Kills, request: Request) -> Response:
    function, after = request.args.get("function"), request.args.get("after")
    if not function:
        return _refusal("the parameter `function` is missing")
    try:
        if after is None:
            return _answer({"killed": kills.now(function)})
        service, colon, operation = after.partition(":")
        if not colon or not service or not operation:
            return _refusal("`after` is SERVICE:OPERATION, sqs:SendMessage for one")
        kills.arm(Kill(function, service, operation))
    except LambdaClientError as error:
        return _refusal(str(error.message), 404)
    return _answer({"after": after})


def _coming(kills: Kills, request: Request) -> Response:
    if not (function := request.args.get("function")):
        return _refusal("the parameter `function` is missing")
    spare = request.args.get("spare") == "true"
    coming = kills.spare(function) if spare else kills.coming(function)
    return _answer({"coming": [f"{kill.service}:{kill.operation}" for kill in coming]})


def _refusal(text: str, status: int = 400) -> Response:
    return _answer({"error": text}, status)


def _answer(body: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")
