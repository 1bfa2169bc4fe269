"""A function's own policy: who else may invoke it (Lambda API Reference, AddPermission and GetPolicy)."""

import json
import re
from typing import Any, Final

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaFunction

from envs.sandbox.aws.permission_needs import Need, function_policy

_ACTION: Final = re.compile(r"lambda:[*]|lambda:[a-zA-Z]+|[*]")
_ACCOUNT: Final = re.compile(r"\d{12}")
_NOT_EMULATED: Final = ("EventSourceToken", "FunctionUrlAuthType", "InvokedViaFunctionUrl", "PrincipalOrgID")


def checked(found: LambdaFunction, raw: str) -> str:
    """The body of an AddPermission request, when it adds a statement that AWS would take."""
    wanted: dict[str, Any] = json.loads(raw)
    if unknown := [name for name in _NOT_EMULATED if name in wanted]:
        raise LambdaClientError(
            "NotImplemented", f"the emulated Lambda does not implement {', '.join(unknown)} of AddPermission"
        )
    if not _ACTION.fullmatch(wanted.get("Action", "")):
        raise InvalidParameterValueException(f"{wanted.get('Action')} is no action of Lambda.")
    name = wanted.get("StatementId")
    if any(each.get("Sid") == name for each in found.policy.statements):
        taken = LambdaClientError(
            "ResourceConflictException",
            f"The statement id ({name}) provided already exists. Please provide a new statement id, or remove the "
            "existing statement.",
        )
        taken.code = 409
        raise taken
    principal = str(wanted.get("Principal", ""))
    if _ACCOUNT.fullmatch(principal):
        wanted["Principal"] = f"arn:aws:iam::{principal}:root"
    elif not principal.endswith(".amazonaws.com") and not principal.startswith("arn:") and principal != "*":
        raise InvalidParameterValueException("The provided principal was invalid. Please check the principal.")
    return json.dumps(wanted)


def invoke_need(found: LambdaFunction, arn: str) -> Need:
    """What somebody needs who invokes a function by this ARN."""
    attached = function_policy(found.account_id, found.region, found.function_name)
    return Need("lambda:InvokeFunction", arn, attached)
