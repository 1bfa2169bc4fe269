"""Faults for drills: the worker of a function is killed, now or right after one of its calls was carried out.

The second is the moment that matters for a function that must be safe to run again: AWS has done what it was asked
for, and the function never learns it.
"""

import logging
import threading
from dataclasses import dataclass
from typing import Any

from moto.awslambda.exceptions import LambdaClientError

from envs.sandbox.account import Account
from envs.sandbox.aws import lambda_, permissions

log = logging.getLogger("envs.sandbox.aws")


@dataclass(frozen=True)
class Kill:
    """One kill to come: after the call of this operation with the function's role."""

    function: str
    service: str
    operation: str


class Kills:
    """All kills to come; each happens once."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._coming: list[Kill] = []

    def arm(self, kill: Kill) -> None:
        """Prepares a kill. Raises moto's `LambdaClientError` for a function that is not there."""
        self._role(kill.function)
        with self._lock:
            self._coming.append(kill)

    def coming(self, function: str) -> list[Kill]:
        """The kills of a function that are to come."""
        with self._lock:
            return [kill for kill in self._coming if kill.function == function]

    def spare(self, function: str) -> list[Kill]:
        """Forgets the kills of a function that are to come; which they were."""
        with self._lock:
            spared = [kill for kill in self._coming if kill.function == function]
            self._coming = [kill for kill in self._coming if kill.function != function]
        return spared

    def now(self, function: str) -> int:
        """Kills the workers of a function; how many there were. Raises as `arm`."""
        self._role(function)
        killed = lambda_.FunctionsBackend.runner.kill(function)
        log.warning("fault: %d workers of function %s are killed", killed, function)
        return killed

    def expected(self, environ: dict[str, Any]) -> Kill | None:
        """The kill that is to follow this request once it was carried out."""
        if not self._coming:
            return None
        try:
            found = permissions.call_of(self._account, environ)
        except (permissions.UnknownCallerError, NotImplementedError):
            return None
        if found is None:
            return None
        who, asked = found
        for kill in list(self._coming):
            called = (asked.service, asked.operation) == (kill.service, kill.operation)
            if called and who.principal == self._role_if_there(kill.function):
                return kill
        return None

    def carry_out(self, kill: Kill) -> None:
        """Kills, unless another request was faster."""
        with self._lock:
            if kill not in self._coming:
                return
            self._coming.remove(kill)
        self.now(kill.function)

    def _role(self, function: str) -> str:
        return lambda_.backend_of(self._account.account_id, self._account.region).get_function(function).role

    def _role_if_there(self, function: str) -> str | None:
        try:
            return self._role(function)
        except LambdaClientError:
            return None
