"""S3: new buckets as closed as AWS makes them, policies that are checked, lifecycle rules that keep all fields.

Since April 2023 a new bucket blocks public access, has its ACLs disabled and encrypts with SSE-S3 (S3 User Guide,
"Default settings for new S3 buckets FAQ"). What follows from it is refused here as well: public policies and ACLs.

Of a bucket policy, Deny statements for everybody are enforced, as far as their conditions can be decided: the one on
aws:SecureTransport counts as met, because the emulated endpoint stands for an HTTPS one. moto would take every such
statement as unconditional.
"""

import json
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.iam.access_control import PermissionResult
from moto.s3 import urls
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeAcl, FakeBucket, S3Backend, s3_backends
from moto.s3.responses import S3Response

from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host

_CLOSED: Final[dict[str, Any]] = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), "true"
)
_SSE_S3: Final = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}
}
_ENFORCED: Final = "BucketOwnerEnforced"


class BucketsBackend(S3Backend):
    """moto's backend, with AWS's defaults and refusals."""

    @property
    def _url_module(self) -> Any:
        return urls

    def create_bucket(self, *arguments: Any, **options: Any) -> FakeBucket:
        made = super().create_bucket(*arguments, **options)
        made.ownership_rule = _ENFORCED  # type: ignore[assignment]
        self.put_public_access_block(made.name, _CLOSED)
        self.put_bucket_encryption(made.name, _SSE_S3)
        return made

    def delete_bucket_encryption(self, bucket_name: str) -> None:
        # There is no bucket without encryption: what is deleted falls back to SSE-S3.
        self.put_bucket_encryption(bucket_name, _SSE_S3)

    def put_bucket_policy(self, bucket_name: str, policy: bytes) -> None:
        bucket = self.get_bucket(bucket_name)
        found = _checked_policy(bucket.arn, policy)
        block = bucket.public_access_block
        if block is not None and str(block.block_public_policy).lower() == "true" and any(map(_public, found)):
            raise S3ClientError(
                "AccessDenied",
                f"The bucket policy of {bucket_name} is public, and its BlockPublicPolicy setting forbids that",
            )
        super().put_bucket_policy(bucket_name, policy)

    def put_bucket_acl(self, bucket_name: str, acl: FakeAcl | None) -> None:
        bucket = self.get_bucket(bucket_name)
        if bucket.ownership_rule == _ENFORCED and acl is not None and len(acl.grants) > 1:
            raise S3ClientError("AccessControlListNotSupported", "The bucket does not allow ACLs")
        super().put_bucket_acl(bucket_name, acl)

    def put_bucket_lifecycle_configuration(self, bucket_name: str, rules: list[dict[str, Any]]) -> None:
        super().put_bucket_lifecycle_configuration(bucket_name, rules)
        for kept, given in zip(self.get_bucket(bucket_name).rules, rules, strict=True):
            newer = (given.get("NoncurrentVersionExpiration") or {}).get("NewerNoncurrentVersions")
            kept.newer_noncurrent_versions = newer  # type: ignore[attr-defined]


class _Response(S3Response):
    """moto's responses, with the field of lifecycle rules that they lose, and a check before a bucket is made."""

    def _bucket_response_put(self, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        acl = request.headers.get("x-amz-acl", "private")
        if not querystring and acl not in ("private", "bucket-owner-full-control"):
            raise S3ClientError(
                "InvalidBucketAclWithObjectOwnership",
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            )
        return super()._bucket_response_put(request, bucket_name, querystring)

    def serialized(self, action_result: ActionResult) -> Any:
        result = action_result.result
        if isinstance(result, dict) and "TransitionDefaultMinimumObjectSize" in result:
            for kept, told in zip(self.backend.get_bucket(self.bucket_name).rules, result["Rules"], strict=True):
                if newer := getattr(kept, "newer_noncurrent_versions", None):
                    told["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"] = int(newer)
        return super().serialized(action_result)


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    s3_backends.backend = BucketsBackend
    FakeBucket.get_permission = _permission  # type: ignore[method-assign]
    urls.url_paths = {path: getattr(_Response, handler.__name__) for path, handler in urls.url_paths.items()}


def _permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    if self.policy is None:
        return PermissionResult.NEUTRAL
    context = {"aws:SecureTransport": "true", "aws:PrincipalAccount": self.account_id}
    for statement in policy.statements(self.policy.decode()):
        if statement["Effect"] == "Deny" and policy.denies_everybody(statement, action, resource, context):
            return PermissionResult.DENIED
    return PermissionResult.NEUTRAL


def _checked_policy(bucket_arn: str, document: bytes) -> list[dict[str, Any]]:
    try:
        found = policy.statements(document.decode())
    except (policy.PolicyError, UnicodeDecodeError) as error:
        raise S3ClientError("MalformedPolicy", f"Policies must be valid JSON with statements: {error}") from error
    for statement in found:
        if not {"Principal", "NotPrincipal"} & statement.keys():
            raise S3ClientError("MalformedPolicy", "Missing required field Principal")
        if not {"Action", "NotAction"} & statement.keys():
            raise S3ClientError("MalformedPolicy", "Missing required field Action")
        resources = statement.get("Resource", statement.get("NotResource", []))
        for resource in [resources] if isinstance(resources, str) else resources:
            if resource != bucket_arn and not resource.startswith(f"{bucket_arn}/"):
                raise S3ClientError("MalformedPolicy", f"Policy has invalid resource: {json.dumps(resource)}")
        if not resources:
            raise S3ClientError("MalformedPolicy", "Missing required field Resource")
    return found


def _public(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    everybody = principal == "*" or (isinstance(principal, dict) and principal.get("AWS") in ("*", ["*"]))
    return statement["Effect"] == "Allow" and everybody and not statement.get("Condition")
