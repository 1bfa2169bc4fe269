"""The security rules: which check each kind of resource must pass, and what must stand beside it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from infra import checks


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule on properties (`check`, `entrance`), on what must stand beside a resource (`companion`), or on both.

    A companion is another resource that refers to this one by the property `companion_property`.
    """

    name: str
    types: tuple[str, ...]
    check: checks.Check | None = None
    entrance: checks.EntranceCheck | None = None
    needs: str | None = None
    """Type of the resources that need the companion."""
    companion: str | None = None
    companion_property: str = ""
    remedy: str = ""


_BUCKET: Final = "aws:s3/bucket:Bucket"
_ACCESS_BLOCK: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_ENCRYPTION: Final = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
_BUCKET_POLICY: Final = "aws:s3/bucketPolicy:BucketPolicy"
_QUEUE: Final = "aws:sqs/queue:Queue"
_QUEUE_POLICY: Final = "aws:sqs/queuePolicy:QueuePolicy"
_CLUSTER: Final = "aws:msk/cluster:Cluster"
_FUNCTION: Final = "aws:lambda/function:Function"
_TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
_INVOKE_CONFIG: Final = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
_IDENTITY_POLICIES: Final = (
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/policy:Policy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
)
_FILE_SYSTEM: Final = "aws:efs/fileSystem:FileSystem"
_FILE_SYSTEM_POLICY: Final = "aws:efs/fileSystemPolicy:FileSystemPolicy"
_TOPIC: Final = "aws:sns/topic:Topic"
_TOPIC_POLICY: Final = "aws:sns/topicPolicy:TopicPolicy"
_RESOURCE_POLICIES: Final = (
    _BUCKET_POLICY,
    _QUEUE_POLICY,
    _FILE_SYSTEM_POLICY,
    _TOPIC_POLICY,
    "aws:msk/clusterPolicy:ClusterPolicy",
)
INGRESS_RULE: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_VPC: Final = "aws:ec2/vpc:Vpc"
_FLOW_LOG: Final = "aws:ec2/flowLog:FlowLog"

RULES: Final = (
    Rule(
        name="s3-not-public",
        types=(_ACCESS_BLOCK,),
        check=checks.each(
            *(
                checks.must_be(key, checks.is_true, "leaves the bucket open to the public", "set it to true")
                for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
            )
        ),
        needs=_BUCKET,
        companion=_ACCESS_BLOCK,
        companion_property="bucket",
        remedy="add a BucketPublicAccessBlock with all four settings",
    ),
    Rule(
        name="s3-encrypted",
        types=(_ENCRYPTION,),
        check=checks.bucket_encrypted,
        needs=_BUCKET,
        companion=_ENCRYPTION,
        companion_property="bucket",
        remedy="add a BucketServerSideEncryptionConfiguration with aws:kms",
    ),
    Rule(
        name="s3-tls-only",
        types=(_BUCKET_POLICY,),
        check=checks.tls_only,
        needs=_BUCKET,
        companion=_BUCKET_POLICY,
        companion_property="bucket",
        remedy="add a BucketPolicy that denies calls without TLS",
    ),
    Rule(
        name="sqs-tls-only",
        types=(_QUEUE_POLICY,),
        check=checks.tls_only,
        needs=_QUEUE,
        companion=_QUEUE_POLICY,
        companion_property="queueUrl",
        remedy="add a QueuePolicy that denies calls without TLS",
    ),
    Rule(name="sqs-encrypted", types=(_QUEUE,), check=checks.queue_encrypted),
    Rule(name="policy-not-public", types=_RESOURCE_POLICIES, check=checks.no_public_policy),
    Rule(
        name="network-closed",
        types=(
            "aws:ec2/securityGroup:SecurityGroup",
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        ),
        check=checks.closed_group,
    ),
    Rule(name="network-closed", types=(INGRESS_RULE,), entrance=checks.closed_entrance),
    Rule(name="network-closed", types=("aws:ec2/managedPrefixList:ManagedPrefixList",), check=checks.closed_list),
    Rule(name="network-closed", types=("aws:ec2/securityGroupRule:SecurityGroupRule",), check=checks.closed_rule),
    Rule(
        name="subnet-not-public",
        types=("aws:ec2/subnet:Subnet",),
        check=checks.must_be(
            "mapPublicIpOnLaunch",
            lambda it: not it,
            "gives whatever starts there a public address",
            "set it to false",
        ),
    ),
    Rule(
        name="vpc-flow-logs",
        types=(_FLOW_LOG,),
        check=checks.must_be("trafficType", lambda it: it == "ALL", "does not see all traffic", 'set it to "ALL"'),
        needs=_VPC,
        companion=_FLOW_LOG,
        companion_property="vpcId",
        remedy="add a FlowLog of the whole VPC",
    ),
    Rule(
        name="msk-tls",
        types=(_CLUSTER,),
        check=checks.each(
            checks.must_be(
                "encryptionInfo.encryptionInTransit.clientBroker",
                lambda it: it == "TLS",
                "lets clients speak in the clear",
                'set it to "TLS"',
            ),
            checks.must_be(
                "encryptionInfo.encryptionInTransit.inCluster",
                checks.is_true,
                "lets brokers speak in the clear",
                "set it to true",
            ),
        ),
    ),
    Rule(
        name="msk-authenticated",
        types=(_CLUSTER,),
        check=checks.each(
            checks.must_be(
                "clientAuthentication.unauthenticated",
                lambda it: not it,
                "lets anybody in",
                "set it to false",
            ),
            checks.must_be("clientAuthentication.sasl.iam", checks.is_true, "does not ask IAM", "set it to true"),
        ),
    ),
    Rule(
        name="msk-encrypted",
        types=(_CLUSTER,),
        check=checks.must_be(
            "encryptionInfo.encryptionAtRestKmsKeyArn", bool, "has no key of ours", "give it the ARN of a KMS key"
        ),
    ),
    Rule(
        name="efs-encrypted",
        types=(_FILE_SYSTEM,),
        check=checks.each(
            checks.must_be("encrypted", checks.is_true, "stores files in the clear", "set it to true"),
            checks.must_be("kmsKeyId", bool, "has no key of ours", "give it the ARN of a KMS key"),
        ),
    ),
    Rule(
        name="efs-tls-only",
        types=(_FILE_SYSTEM_POLICY,),
        check=checks.tls_only,
        needs=_FILE_SYSTEM,
        companion=_FILE_SYSTEM_POLICY,
        companion_property="fileSystemId",
        remedy="add a FileSystemPolicy that denies clients without TLS",
    ),
    Rule(name="sns-encrypted", types=(_TOPIC,), check=checks.topic_encrypted),
    Rule(
        name="sns-tls-only",
        types=(_TOPIC_POLICY,),
        check=checks.tls_only,
        needs=_TOPIC,
        companion=_TOPIC_POLICY,
        companion_property="arn",
        remedy="add a TopicPolicy that denies calls without TLS",
    ),
    Rule(
        name="logs-retention",
        types=("aws:cloudwatch/logGroup:LogGroup",),
        check=checks.must_be("retentionInDays", bool, "keeps logs for ever", "set the days from the settings"),
    ),
    Rule(name="iam-action-wildcard", types=_IDENTITY_POLICIES, check=checks.no_wildcard_action),
    Rule(name="iam-resource-wildcard", types=_IDENTITY_POLICIES, check=checks.no_wildcard_resource),
    Rule(
        name="firehose-encrypted",
        types=("aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream",),
        check=checks.must_be(
            "extendedS3Configuration.kmsKeyArn", bool, "writes objects without our key", "give it the bucket's key"
        ),
    ),
    Rule(
        name="kms-rotation",
        types=("aws:kms/key:Key",),
        check=checks.must_be("enableKeyRotation", checks.is_true, "never changes the key", "set it to true"),
    ),
    Rule(
        name="lambda-dead-letters",
        types=(_INVOKE_CONFIG,),
        check=checks.must_be(
            "destinationConfig.onFailure.destination", bool, "drops events that failed", "give it a queue's ARN"
        ),
        needs=_FUNCTION,
        companion=_INVOKE_CONFIG,
        companion_property="functionName",
        remedy="add a FunctionEventInvokeConfig with an on-failure queue",
    ),
    Rule(name="lambda-own-group", types=(_FUNCTION,), check=checks.inside_alone),
    Rule(name="secret-encrypted", types=("aws:secretsmanager/secret:Secret",), check=checks.secret_encrypted),
    Rule(
        name="ec2-imdsv2",
        types=(_TEMPLATE,),
        check=checks.each(
            checks.must_be(
                "metadataOptions.httpTokens",
                lambda it: it == "required",
                "gives the role's credentials to whoever can make the machine send a request (IMDSv1)",
                'set it to "required"',
            ),
            checks.must_be(
                "metadataOptions.httpPutResponseHopLimit",
                lambda it: it == 1,
                "lets tokens travel beyond the machine",
                "set it to 1",
            ),
        ),
    ),
    Rule(name="ebs-encrypted", types=(_TEMPLATE,), check=checks.template_disks_encrypted),
    Rule(
        name="ebs-encrypted",
        types=("aws:ebs/volume:Volume",),
        check=checks.each(
            checks.must_be("encrypted", checks.is_true, "stores data in the clear", "set it to true"),
            checks.must_be("kmsKeyId", bool, "has no key of ours", "give it the ARN of a KMS key"),
        ),
    ),
)
NAMES: Final = frozenset(rule.name for rule in RULES)


def judge(
    type_: str, properties: checks.Properties, public_ports: Collection[int] = ()
) -> Iterator[tuple[str, checks.Finding]]:
    """Every rule that a resource's properties break, as far as they are known; the world may come to public ports."""
    for rule in RULES:
        if type_ in rule.types:
            for finding in rule.check(properties) if rule.check else ():
                yield rule.name, finding
            for finding in rule.entrance(properties, public_ports) if rule.entrance else ():
                yield rule.name, finding
