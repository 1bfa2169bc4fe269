"""A bucket for data: encrypted, versioned, never public, over TLS only, and emptied by rules."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.policies import document, tls_only

_OVERWRITTEN_DAYS: Final = 30
"""How long a version that was overwritten or deleted can be brought back."""
_UNFINISHED_DAYS: Final = 7
"""How long parts of an upload that was never finished are kept."""


@dataclass(frozen=True, kw_only=True)
class DataBucketArgs:
    """The key for its objects, when they move and go (None: never), and whether they go with the bucket."""

    key_arn: pulumi.Input[str]
    infrequent_access_days: int | None = None
    expiration_days: int | None = None
    disposable: bool
    protect: bool


class DataBucket(pulumi.ComponentResource):
    """The bucket and the six settings that S3 keeps beside it."""

    arn: pulumi.Output[str]
    bucket_name: pulumi.Output[str]

    def __init__(self, name: str, args: DataBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:bucket:DataBucket", name, None, opts)
        bucket = aws.s3.Bucket(
            f"{name}-bucket",
            force_destroy=args.disposable,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.arn = bucket.arn
        self.bucket_name = bucket.bucket
        aws.s3.BucketOwnershipControls(
            f"{name}-ownership",
            bucket=bucket.id,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        private = aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="aws:kms", kms_master_key_id=args.key_arn
                    ),
                    # One data key for many objects: KMS is paid by the call.
                    bucket_key_enabled=True,
                )
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        versioning = aws.s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.id,
            rules=[_lifecycle(args)],
            # The rule speaks of overwritten versions, which exist once versioning is on.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        aws.s3.BucketPolicy(
            f"{name}-tls-only",
            bucket=bucket.id,
            policy=document(tls_only("s3", [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")])),
            # S3 refuses two changes of a bucket's access at once.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[private]),
        )
        self.register_outputs({"arn": self.arn, "bucket_name": self.bucket_name})


def _lifecycle(args: DataBucketArgs) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="age",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        transitions=None
        if args.infrequent_access_days is None
        else [
            aws.s3.BucketLifecycleConfigurationRuleTransitionArgs(
                days=args.infrequent_access_days, storage_class="STANDARD_IA"
            )
        ],
        expiration=None
        if args.expiration_days is None
        else aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=args.expiration_days),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=_OVERWRITTEN_DAYS
        ),
        abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=_UNFINISHED_DAYS
        ),
    )
