"""STS: roles are assumed only when they exist and trust the caller, and keys have owners.

moto's AssumeRole takes any ARN. Here it does what AWS does: without a role and a trust policy that names the caller
it answers AccessDenied (STS API Reference, AssumeRole). How emulated services assume roles: `sts_client`.
"""

from datetime import UTC, timedelta
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.iam.models import Role, iam_backends
from moto.sts import models, responses, urls
from moto.sts.exceptions import STSClientError
from moto.sts.models import AssumedRole, STSBackend, sts_backends

from envs.errors import FleetstreamError
from envs.sandbox.account import Account
from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host

_PARTITION: Final = "aws"
_SERVICE_SESSION: Final = timedelta(hours=1)
_ADMIN_NAME: Final = "administrator"


class TrustError(FleetstreamError):
    """A role that cannot be assumed; the text names the role, the caller and what is missing."""


def admin_arn(account: Account) -> str:
    """Who the account's own key belongs to. IAM does not list this user: it is not part of any environment."""
    return f"arn:aws:iam::{account.account_id}:user/{_ADMIN_NAME}"


def trusted_role(account: Account, role_arn: str, service: str) -> Role:
    """The role, when it exists and lets `service` (``lambda.amazonaws.com``) assume it. Raises `TrustError`.

    A condition on aws:SourceArn counts as met: which resource a service acts for is decided later than here.
    """
    role = _role(account, role_arn)
    if role is None:
        raise TrustError(f"{service} cannot assume {role_arn}: there is no such role")
    call = policy.Call(
        "sts:AssumeRole",
        service=service,
        context={"aws:SourceAccount": account.account_id, "sts:ExternalId": account.account_id},
        ignored=frozenset({"aws:sourcearn"}),
    )
    if not _allows(role, call):
        raise TrustError(
            f"{service} cannot assume {role_arn}: its trust policy does not allow sts:AssumeRole to that service"
        )
    return role


def assume_for_service(
    account: Account, region: str, role_arn: str, service: str, instance: str | None = None
) -> AssumedRole:
    """Temporary credentials of a role for an emulated service, such as EC2, which hands them to an `instance`.

    Those of an instance are a session of its name, for the role of its profile only (EC2 User Guide, "IAM roles for
    Amazon EC2"). Raises `TrustError`.
    """
    trusted_role(account, role_arn, service)
    if instance and role_arn not in _roles_of(account, region, instance):
        raise TrustError(f"{instance} cannot have {role_arn}: it has no instance profile with that role")
    backend = sts_backends[account.account_id][_PARTITION]
    _forget_expired(backend)
    assumed = backend.assume_role(
        region_name=region,
        role_session_name=instance or session_name(service),
        role_arn=role_arn,
        policy="",
        duration=int(_SERVICE_SESSION.total_seconds()),
        external_id="",
    )
    if instance:
        machine = f"arn:{_PARTITION}:ec2:{region}:{account.account_id}:instance/{instance}"
        assumed.fleetstream_machine = machine  # type: ignore[attr-defined]
    return assumed


def machine_of(role: AssumedRole | None) -> str | None:
    """The ARN of the instance that a role's credentials were given to; None for those of others."""
    return getattr(role, "fleetstream_machine", None)


def _roles_of(account: Account, region: str, instance: str) -> list[str]:
    association = ec2_backends[account.account_id][region].iam_instance_profile_associations.get(instance)
    return [role.arn for role in association.iam_instance_profile.roles] if association else []


def session_name(service: str) -> str:
    """What an emulated service calls its sessions of roles."""
    return service.split(".")[0]


def credentials(role: AssumedRole) -> dict[str, str]:
    """The answer of the services' own door, as `sts_client` documents it."""
    return {
        "AccessKeyId": role.access_key_id,
        "SecretAccessKey": role.secret_access_key,
        "SessionToken": role.session_token,
        "Expiration": role.expiration.replace(tzinfo=UTC).isoformat(),
        "Arn": role.arn,
    }


def secret_of(account: Account, access_key: str, session_token: str | None) -> tuple[str, str] | None:
    """The secret of an access key and the ARN of its owner, or None when nobody owns it (`iam_token.SecretOf`)."""
    if session_token is None:
        if access_key == account.access_key:
            return account.secret_key, admin_arn(account)
        user = iam_backends[account.account_id][_PARTITION].get_user_from_access_key_id(access_key)
        if user is None:
            return None
        key = user.get_access_key_by_id(access_key)
        return (key.secret_access_key, user.arn) if key.status == "Active" else None
    role = sts_backends[account.account_id][_PARTITION].get_assumed_role_from_access_key(access_key)
    if role is None or role.session_token != session_token or role.expiration <= utcnow():
        return None
    return role.secret_access_key, role.arn


def install(host: Host) -> None:
    """Replaces AssumeRole and GetCallerIdentity of moto."""
    account = host.account
    stock_identity = STSBackend.get_caller_identity

    def get_caller_identity(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
        if access_key_id == account.access_key:
            return f"AIDA{account.access_key[4:]}", admin_arn(account), account.account_id
        return stock_identity(self, access_key_id, region)

    class TokenResponse(responses.TokenResponse):
        def assume_role(self) -> ActionResult:
            _, caller, _ = self.backend.get_caller_identity(self.get_access_key(), self.region)
            role_arn = self._get_param("RoleArn")
            role = _role(account, role_arn)
            context: dict[str, str] = {"aws:PrincipalArn": caller, "aws:PrincipalAccount": account.account_id}
            if (external := self._get_param("ExternalId")) is not None:
                context["sts:ExternalId"] = external
            call = policy.Call("sts:AssumeRole", arn=caller, account=account.account_id, context=context)
            if role is None or not _allows(role, call):
                raise _access_denied(caller, role_arn)
            _forget_expired(self.backend)
            return super().assume_role()

    models.STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]
    urls.url_paths = dict.fromkeys(urls.url_paths, TokenResponse.dispatch)


def _access_denied(caller: str, role_arn: str) -> STSClientError:
    return STSClientError(
        "AccessDenied", f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
    )


def _allows(role: Role, call: policy.Call) -> bool:
    try:
        return policy.allows(role.assume_role_policy_document, call)
    except policy.PolicyError as error:
        raise TrustError(f"the trust policy of {role.arn}: {error}") from error


def _role(account: Account, role_arn: str) -> Role | None:
    roles: dict[str, Any] = iam_backends[account.account_id][_PARTITION].roles
    return next((role for role in list(roles.values()) if role.arn == role_arn), None)


def _forget_expired(backend: STSBackend) -> None:
    now = utcnow()
    backend.assumed_roles[:] = [role for role in backend.assumed_roles if role.expiration > now]
