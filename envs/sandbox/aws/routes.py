"""The routes of this project beside those of AWS: for the broker's token check and for the emulated services."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import orjson
from werkzeug.wrappers import Request, Response

from envs.sandbox.account import Account
from envs.sandbox.aws import iam_token, sts

log = logging.getLogger("envs.sandbox.aws")

Route = Callable[[Request], Response]


def table(account: Account) -> Mapping[str, Route]:
    """Path -> what answers it. All of them are unsigned GETs on the loopback interface.

    * ``/fleetstream/kafka/principal?token=``: who signed an MSK IAM token: 200 ``{"principal", "expires_ms"}``
    * ``/fleetstream/sts/assume?role=&service=``: see `sts_client`

    Each refuses with 403 ``{"error"}``, and with 400 when a parameter is missing.
    """
    return {
        "/fleetstream/kafka/principal": partial(_principal, account),
        "/fleetstream/sts/assume": partial(_assume, account),
    }


def _principal(account: Account, request: Request) -> Response:
    token = request.args.get("token")
    if not token:
        return _answer({"error": "the parameter `token` is missing"}, 400)
    try:
        found = iam_token.verify(token, partial(sts.secret_of, account), datetime.now(UTC), account.region)
    except iam_token.TokenError as error:
        log.warning("refused a token: %s", error)
        return _answer({"error": str(error)}, 403)
    return _answer({"principal": found.arn, "expires_ms": found.expires_ms})


def _assume(account: Account, request: Request) -> Response:
    role, service = request.args.get("role"), request.args.get("service")
    if not role or not service:
        return _answer({"error": "the parameters `role` and `service` are needed"}, 400)
    try:
        assumed = sts.assume_for_service(account, account.region, role, service)
    except sts.TrustError as error:
        log.warning("%s", error)
        return _answer({"error": str(error)}, 403)
    return _answer(sts.credentials(assumed))


def _answer(body: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")
