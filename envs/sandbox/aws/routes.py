"""The routes of this project beside those of AWS: for the broker's token check and for the emulated services."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import orjson
from werkzeug.wrappers import Request, Response

from envs.sandbox.account import Account
from envs.sandbox.aws import broker_rights, dlm, drill_routes, iam_token, machine_routes, permissions, policy, sts
from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.kills import Kills
from envs.sandbox.aws.permission_needs import Need, cluster_needs

log = logging.getLogger("envs.sandbox.aws")

Route = Callable[[Request], Response]

_REFUSALS: Final = (permissions.AccessDeniedError, permissions.UnknownCallerError, policy.PolicyError)
_QUESTION: Final = ("principal", "operation", "kind", "name", "told")


def table(account: Account, kills: Kills) -> Mapping[str, Route]:
    """Path -> what answers it. All of them are unsigned, on the loopback interface; these are GETs.

    * ``/fleetstream/kafka/principal?token=``: who signed an MSK IAM token: 200 ``{"principal", "expires_ms"}``; a
      role that may not ``kafka-cluster:Connect`` to the deployed cluster is refused
    * ``/fleetstream/kafka/allowed?principal=&operation=&kind=&name=&told=``: whether a principal (its ARN) may do a
      Kafka operation to a Kafka resource: 200 ``{}``; with ``told=false`` a denial is not logged. See `broker_rights`
    * ``/fleetstream/kafka/authorize?role=&service=&action=&resource=``: see `sts_client`
    * ``/fleetstream/sts/assume?role=&service=&instance=``: see `sts_client`
    * ``/fleetstream/clock/advance?seconds=``: puts the clock of the emulated services forward: 200 ``{}``
    * ``/fleetstream/dlm/run?policy=``: runs a snapshot policy now: 200 ``{"snapshots"}``; 404 when there is none

    Each refuses with 403 ``{"error"}``, and with 400 when a parameter is missing. Those of drills and of machines are
    in `drill_routes` and `machine_routes`.
    """
    return {
        "/fleetstream/kafka/principal": partial(_principal, account),
        "/fleetstream/kafka/allowed": partial(_allowed, account),
        "/fleetstream/kafka/authorize": partial(_authorize, account),
        "/fleetstream/sts/assume": partial(_assume, account),
        "/fleetstream/clock/advance": _advance,
        "/fleetstream/dlm/run": _take_snapshots,
        **drill_routes.table(account, kills),
        **machine_routes.table(account),
    }


def _principal(account: Account, request: Request) -> Response:
    token = request.args.get("token")
    if not token:
        return _answer({"error": "the parameter `token` is missing"}, 400)
    keys: list[tuple[str, str | None]] = []

    def secret_of(access_key: str, session_token: str | None) -> tuple[str, str] | None:
        keys.append((access_key, session_token))
        return sts.secret_of(account, access_key, session_token)

    try:
        found = iam_token.verify(token, secret_of, datetime.now(UTC), account.region)
        if (who := permissions.caller(account, *keys[-1])) is not None:
            for need in cluster_needs(iam_token.ACTION, account.account_id, account.region):
                permissions.demand(account, who, need)
    except (iam_token.TokenError, *_REFUSALS) as error:
        log.warning("refused a token: %s", error)
        return _answer({"error": str(error)}, 403)
    return _answer({"principal": found.arn, "expires_ms": found.expires_ms})


def _allowed(account: Account, request: Request) -> Response:
    values = [request.args.get(name) for name in _QUESTION]
    if None in values:
        return _answer({"error": f"the parameters {', '.join(_QUESTION)} are needed"}, 400)
    principal, operation, kind, name, told = map(str, values)
    try:
        broker_rights.check(account, principal, operation, kind, name, told=told == "true")
    except policy.PolicyError as error:
        log.error("%s: %s", principal, error)
        return _answer({"error": str(error)}, 403)
    except _REFUSALS as error:
        return _answer({"error": str(error)}, 403)
    return _answer({})


def _authorize(account: Account, request: Request) -> Response:
    values = [request.args.get(name) for name in ("role", "service", "action", "resource")]
    if not all(values):
        return _answer({"error": "the parameters `role`, `service`, `action` and `resource` are needed"}, 400)
    role, service, action, resource = map(str, values)
    try:
        assumed = sts.trusted_role(account, role, service)
        permissions.demand(account, permissions.role_caller(account, assumed, service), Need(action, resource))
    except (sts.TrustError, *_REFUSALS) as error:
        return _answer({"error": str(error)}, 403)
    return _answer({})


def _assume(account: Account, request: Request) -> Response:
    role, service = request.args.get("role"), request.args.get("service")
    if not role or not service:
        return _answer({"error": "the parameters `role` and `service` are needed"}, 400)
    try:
        assumed = sts.assume_for_service(account, account.region, role, service, request.args.get("instance"))
    except sts.TrustError as error:
        log.warning("%s", error)
        return _answer({"error": str(error)}, 403)
    return _answer(sts.credentials(assumed))


def _advance(request: Request) -> Response:
    try:
        seconds = float(request.args.get("seconds", ""))
    except ValueError:
        seconds = -1
    if seconds < 0:
        return _answer({"error": "the parameter `seconds` must be a number that is not negative"}, 400)
    CLOCK.advance(seconds)
    return _answer({})


def _take_snapshots(request: Request) -> Response:
    try:
        return _answer({"snapshots": dlm.manager().run(request.args.get("policy", ""))})
    except LookupError as error:
        return _answer({"error": str(error.args[0])}, 404)


def _answer(body: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")
