"""What a request is about: the actions that its caller needs, on which resources, and the policies these have.

An operation's action, its resource and its condition keys: Service Authorization Reference, a page a service. Actions
that are needed besides: S3 User Guide, "Required permissions for Amazon S3 API operations" and "Using server-side
encryption with AWS KMS keys"; SQS Developer Guide, "Configure KMS permissions for AWS services". Only operations that
deployed principals have been seen to call are here: any other is refused by name, because a guess at its resource
would let pass, or deny, what AWS would not.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import lambda_backends
from moto.iam.models import iam_backends
from moto.kafka.models import kafka_backends
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, FakeKey, s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sqs.models import sqs_backends

from envs.sandbox.aws import permission_fleet
from envs.sandbox.aws.permission_terms import Asked, Need, kms_need

_PARTITION: Final = "aws"


def needs(asked: Asked) -> list[Need]:
    """Everything that the caller must be allowed to. Raises `NotImplementedError` for what is not known here."""
    if (asked.service, asked.operation) == ("sts", "GetCallerIdentity"):
        return []  # Nobody needs a permission for it, and no policy can take it away (STS API Reference).
    finder = _FINDERS.get(asked.service)
    found = finder(asked) if finder is not None else None
    if found is None:
        raise NotImplementedError(
            f"the emulated AWS does not know which permissions {asked.operation} of {asked.service} needs: a role "
            "cannot call it here"
        )
    return found


# S3

_OBJECT_ACTIONS: Final = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObject": "DeleteObject",
    "GetObject": "GetObject",
    "GetObjectTagging": "GetObjectTagging",
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    "PutObject": "PutObject",
    "PutObjectTagging": "PutObjectTagging",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
_OF_VERSIONS: Final = frozenset({"DeleteObject", "GetObject", "GetObjectTagging", "HeadObject", "PutObjectTagging"})
_BUCKET_ACTIONS: Final = {
    "GetBucketLocation": "GetBucketLocation",
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
}
_CONDITION_HEADERS: Final = (
    "x-amz-acl",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
)


def _s3(asked: Asked) -> list[Need] | None:
    if asked.operation == "ListBuckets":
        return [Need("s3:ListAllMyBuckets", "*")]
    name = asked.parameters.get("Bucket", "")
    bucket = s3_backends[asked.account][_PARTITION].buckets.get(name)
    arn = f"arn:{_PARTITION}:s3:::{name}"
    policy = bucket.policy.decode() if bucket is not None and bucket.policy else None
    context = {f"s3:{name}": value for name in _CONDITION_HEADERS if (value := asked.headers.get(name))}
    if action := _BUCKET_ACTIONS.get(asked.operation):
        if "prefix" in asked.parameters:
            context["s3:prefix"] = asked.parameters["prefix"]
        return [Need(f"s3:{action}", arn, policy, context=context)]
    action = _OBJECT_ACTIONS.get(asked.operation)
    if action is None:
        return None
    key = asked.parameters["Key"]
    if asked.operation in _OF_VERSIONS and "versionId" in asked.parameters:
        action = f"{action.removesuffix('Tagging')}Version{'Tagging' if action.endswith('Tagging') else ''}"
    found = [Need(f"s3:{action}", f"{arn}/{key}", policy, context=context)]
    if source := asked.headers.get("x-amz-copy-source"):
        found += _read_source(asked, unquote(source).removeprefix("/"))
    if bucket is None:
        return found
    if asked.operation in ("GetObject", "HeadObject"):
        return found + _read_key(asked, bucket, key, arn, policy)
    return found + _write_key(asked, bucket, f"{arn}/{key}")


def _read_source(asked: Asked, source: str) -> list[Need]:
    name, _, key = source.partition("?versionId=")[0].partition("/")
    copied = {"Bucket": name, "Key": key}
    return _s3(Asked("s3", "GetObject", asked.account, asked.region, copied)) or []


def _read_key(asked: Asked, bucket: FakeBucket, key: str, arn: str, policy: str | None) -> list[Need]:
    found: FakeKey | None = None
    try:
        stored = s3_backends[asked.account][_PARTITION].get_object(
            bucket.name, key, asked.parameters.get("versionId")
        )
        found = stored if isinstance(stored, FakeKey) else None
    except S3ClientError:
        pass
    if found is None:
        # Who may not list a bucket is not told either that an object is missing (S3 API Reference, GetObject).
        return [Need("s3:ListBucket", arn, policy)]
    if asked.operation != "GetObject" or found.encryption != "aws:kms":
        return []
    context = _encryption_context(f"{arn}/{key}", bucket, str(found.bucket_key_enabled))
    return _through_s3(asked, "Decrypt", found.kms_key_id, context)


def _write_key(asked: Asked, bucket: FakeBucket, arn: str) -> list[Need]:
    default = (bucket.encryption or {}).get("Rule", {})
    by_default = default.get("ApplyServerSideEncryptionByDefault", {})
    upload = bucket.multiparts.get(asked.parameters.get("uploadId", ""))
    if upload is not None:
        kind, key = upload.sse_encryption, upload.kms_key_id
    else:
        kind = asked.headers.get("x-amz-server-side-encryption")
        key = asked.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
    if kind is None:
        kind, key = by_default.get("SSEAlgorithm"), key or by_default.get("KMSMasterKeyID")
    if kind != "aws:kms":
        return []
    asked_for = asked.headers.get("x-amz-server-side-encryption-bucket-key-enabled")
    context = _encryption_context(arn, bucket, asked_for or str(default.get("BucketKeyEnabled", "false")))
    match asked.operation:
        case "PutObject" | "CopyObject" | "CreateMultipartUpload":
            return _through_s3(asked, "GenerateDataKey", key, context)
        case "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload":
            return _through_s3(asked, "Decrypt", key, context)
        case _:
            return []


def _encryption_context(object_arn: str, bucket: FakeBucket, bucket_key: str) -> dict[str, str]:
    """What S3 binds a data key to: the bucket when it has a key of its own, else the object."""
    arn = bucket.arn if bucket_key.lower() == "true" else object_arn
    return {"kms:EncryptionContext:aws:s3:arn": arn}


def _through_s3(asked: Asked, action: str, key_id: str | None, context: Mapping[str, str]) -> list[Need]:
    through = {"kms:ViaService": f"s3.{asked.region}.amazonaws.com", **context}
    need = kms_need(action, key_id, asked.account, asked.region, through) if key_id else None
    return [] if need is None else [need]


# KMS

_KEY_OPERATIONS: Final = frozenset(
    {
        "CreateGrant",
        "Decrypt",
        "DescribeKey",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GetKeyPolicy",
        "GetKeyRotationStatus",
        "ListGrants",
    }
)


def _kms(asked: Asked) -> list[Need] | None:
    key_id = asked.parameters.get("KeyId")
    if asked.operation not in _KEY_OPERATIONS or not key_id:
        return None
    bound = asked.parameters.get("EncryptionContext") or {}
    context = {f"kms:EncryptionContext:{name}": value for name, value in bound.items()}
    need = kms_need(asked.operation, key_id, asked.account, asked.region, context)
    return [need or Need(f"kms:{asked.operation}", asked.arn(f"key/{key_id.rpartition('/')[2]}"), key=True)]


# SQS

_QUEUE_ACTIONS: Final = {
    "ChangeMessageVisibility": "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "DeleteMessage": "DeleteMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "GetQueueAttributes": "GetQueueAttributes",
    "GetQueueUrl": "GetQueueUrl",
    "PurgeQueue": "PurgeQueue",
    "ReceiveMessage": "ReceiveMessage",
    "SendMessage": "SendMessage",
    "SendMessageBatch": "SendMessage",
}
_QUEUE_KEY_USES: Final = {"SendMessage": ("GenerateDataKey", "Decrypt"), "ReceiveMessage": ("Decrypt",)}


def _sqs(asked: Asked) -> list[Need] | None:
    action = _QUEUE_ACTIONS.get(asked.operation)
    url = asked.parameters.get("QueueUrl") or asked.parameters.get("QueueName")
    if action is None or not url:
        return None
    return queue_needs(action, asked.arn(url.rpartition("/")[2]))


def queue_needs(action: str, queue_arn: str) -> list[Need]:
    """What somebody needs who does something to a queue."""
    region, account, name = queue_arn.split(":")[3:6]
    queue = sqs_backends[account][region].queues.get(name)
    found = [Need(f"sqs:{action}", queue_arn, queue.policy if queue is not None else None)]
    if key_id := getattr(queue, "kms_master_key_id", None):
        through = {"kms:ViaService": f"sqs.{region}.amazonaws.com", "kms:EncryptionContext:aws:sqs:arn": queue_arn}
        for use in _QUEUE_KEY_USES.get(action, ()):
            if need := kms_need(use, key_id, account, region, through):
                found.append(need)
    return found


# Secrets Manager

_SECRET_OPERATIONS: Final = {
    "DescribeSecret": (),
    "GetSecretValue": ("Decrypt",),
    "PutSecretValue": ("GenerateDataKey", "Decrypt"),
}
"""What a caller may do to a secret -> the uses of the secret's key that come with it."""


def _secretsmanager(asked: Asked) -> list[Need] | None:
    uses = _SECRET_OPERATIONS.get(asked.operation)
    name = asked.parameters.get("SecretId")
    if uses is None or not name:
        return None
    secret: Any = secretsmanager_backends[asked.account][asked.region].secrets.get(name)
    if secret is None:
        arn = name if name.startswith("arn:") else asked.arn(f"secret:{name}")
        return [Need(f"secretsmanager:{asked.operation}", arn)]
    found = [Need(f"secretsmanager:{asked.operation}", secret.arn, secret.policy)]
    through = {
        "kms:ViaService": f"secretsmanager.{asked.region}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret.arn,
    }
    for use in uses if secret.kms_key_id else ():
        if need := kms_need(use, secret.kms_key_id, asked.account, asked.region, through):
            found.append(need)
    return found


# CloudWatch Logs, Lambda, MSK, STS


def cluster_needs(action: str, account: str, region: str, part: str | None = None, name: str = "") -> list[Need]:
    """What somebody needs who does something to the cluster that has the sandbox's broker; nothing without one.

    `part` ("topic", "group", "transactional-id") and its name are for what lies in the cluster, where the cluster's
    policy decides as well.
    """
    found = [_cluster_need(action, arn, account, region) for arn in list(_clusters(account, region))]
    if part in (None, "cluster"):
        return found
    return [replace(need, resource=f"{need.resource.replace(':cluster/', f':{part}/', 1)}/{name}") for need in found]


def _clusters(account: str, region: str) -> dict[str, Any]:
    return getattr(kafka_backends[account][region], "msk_clusters", {})


def _cluster_need(action: str, arn: str, account: str, region: str) -> Need:
    attached = getattr(_clusters(account, region).get(arn), "policy", None)
    return Need(action, arn, attached[0] if attached else None)


def _logs(asked: Asked) -> list[Need] | None:
    if asked.operation not in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"):
        return [Need("logs:DescribeLogGroups", "*")] if asked.operation == "DescribeLogGroups" else None
    group, stream = asked.parameters.get("logGroupName"), asked.parameters.get("logStreamName", "")
    return [Need(f"logs:{asked.operation}", asked.arn(f"log-group:{group}:log-stream:{stream}"))]


def _lambda(asked: Asked) -> list[Need] | None:
    if asked.operation not in ("GetFunction", "GetFunctionConfiguration", "Invoke"):
        return None
    given = unquote(asked.parameters["FunctionName"])
    named = given.rpartition(":function:")[2]
    qualifier = asked.parameters.get("Qualifier")
    if qualifier and ":" not in named:
        named = f"{named}:{qualifier}"
    action = "InvokeFunction" if asked.operation == "Invoke" else asked.operation
    attached = function_policy(asked.account, asked.region, named.partition(":")[0])
    return [Need(f"lambda:{action}", asked.arn(f"function:{named}"), attached)]


def function_policy(account: str, region: str, name: str) -> str | None:
    """A function's own policy; None when it has none."""
    try:
        statements = lambda_backends[account][region].get_function(name).policy.statements
    except LambdaClientError:
        return None
    return json.dumps({"Version": "2012-10-17", "Statement": statements}) if statements else None


def _events(asked: Asked) -> list[Need] | None:
    if asked.operation != "PutEvents":
        return None
    buses = {entry.get("EventBusName") or "default" for entry in asked.parameters.get("Entries", [])}
    return [Need("events:PutEvents", asked.arn(f"event-bus/{bus.rpartition('/')[2]}")) for bus in sorted(buses)]


def _kafka(asked: Asked) -> list[Need] | None:
    if asked.operation not in ("DescribeCluster", "DescribeClusterV2", "GetBootstrapBrokers"):
        return None
    arn = unquote(asked.parameters["clusterArn"])
    return [_cluster_need(f"kafka:{asked.operation}", arn, asked.account, asked.region)]


def _sts(asked: Asked) -> list[Need] | None:
    if asked.operation != "AssumeRole":
        return None
    arn = asked.parameters.get("RoleArn", "")
    roles = iam_backends[asked.account][_PARTITION].roles.values()
    trust = next((role.assume_role_policy_document for role in roles if role.arn == arn), None)
    return [Need("sts:AssumeRole", arn, trust)]


_FINDERS: Final[Mapping[str, Callable[[Asked], list[Need] | None]]] = {
    "autoscaling": permission_fleet.autoscaling,
    "ec2": permission_fleet.ec2,
    "events": _events,
    "kafka": _kafka,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "s3": _s3,
    "secretsmanager": _secretsmanager,
    "sqs": _sqs,
    "sts": _sts,
}
