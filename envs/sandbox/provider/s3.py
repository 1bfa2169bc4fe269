"""Buckets and the settings that are resources of their own."""

from collections.abc import Callable
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import Property, block, boolean, document, integer, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_ZONES: Final = {
    "ap-northeast-1": "Z2M4EHUR26P7ZW",
    "ap-southeast-1": "Z3O0J2DXBE1FTB",
    "ap-southeast-2": "Z1WCIGYICN2BYD",
    "ca-central-1": "Z1QDHH18159H29",
    "eu-central-1": "Z21DNDUVLTQW6Q",
    "eu-north-1": "Z3BAZG2TWCNX0D",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-west-2": "Z3GKZC51ZF0DB4",
    "eu-west-3": "Z3R1K369G5AVDG",
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
}
"""Route 53 zones of S3 website endpoints (AWS General Reference, "Amazon S3 endpoints and quotas")."""

_GONE: Final = ("NoSuchBucket", "404")


# Bucket ---------------------------------------------------------------------------------------------------------


def _set_tags(aws: Aws, identifier: str, tags: dict[str, str]) -> None:
    if tags:
        aws.client("s3").put_bucket_tagging(Bucket=identifier, Tagging={"TagSet": tag_list(tags)})
    else:
        aws.client("s3").delete_bucket_tagging(Bucket=identifier)


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    # S3 sets all tags at once.
    _set_tags(aws, identifier, {**_tags(aws, identifier), **tags})


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    _set_tags(aws, identifier, {key: value for key, value in _tags(aws, identifier).items() if key not in keys})


def _tags(aws: Aws, identifier: str) -> dict[str, str]:
    told = find(lambda: aws.client("s3").get_bucket_tagging(Bucket=identifier), "NoSuchTagSet", "NoSuchTagSetError")
    return tag_map((told or {}).get("TagSet"))


def _create_bucket(aws: Aws, args: Args) -> str:
    wanted: dict[str, Any] = {"Bucket": args["bucket"]}
    if aws.region != "us-east-1":
        wanted["CreateBucketConfiguration"] = {"LocationConstraint": aws.region}
    if args.get("objectLockEnabled"):
        wanted["ObjectLockEnabledForBucket"] = True
    aws.client("s3").create_bucket(**wanted)
    return args["bucket"]


def _finish_bucket(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("tagsAll"):
        _set_tags(aws, identifier, args["tagsAll"])


def _read_bucket(aws: Aws, identifier: str, _: Args) -> Args | None:
    s3 = aws.client("s3")
    if find(lambda: s3.head_bucket(Bucket=identifier), *_GONE) is None:
        return None
    lock = find(lambda: s3.get_object_lock_configuration(Bucket=identifier), "ObjectLockConfigurationNotFoundError")
    return {
        "bucket": identifier,
        "objectLockEnabled": (lock or {}).get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled",
        "arn": f"arn:{aws.partition}:s3:::{identifier}",
        "bucketDomainName": f"{identifier}.s3.amazonaws.com",
        "bucketRegion": aws.region,
        "bucketRegionalDomainName": f"{identifier}.s3.{aws.region}.amazonaws.com",
        "hostedZoneId": _ZONES.get(aws.region),
        "websiteDomain": "",
        "websiteEndpoint": "",
        "tagsAll": _tags(aws, identifier),
    }


def _delete_bucket(aws: Aws, identifier: str, state: Args) -> None:
    s3 = aws.client("s3")
    with ignoring(*_GONE):
        if state.get("forceDestroy"):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=identifier):
                every = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in every]
                if objects:
                    s3.delete_objects(Bucket=identifier, Delete={"Objects": objects, "Quiet": True})
        s3.delete_bucket(Bucket=identifier)


BUCKET: Final = Resource(
    type_name="aws:s3/bucket:Bucket",
    inputs={
        "bucket": text(computed=True),
        "forceDestroy": boolean(default=False, write_only=True),
        "objectLockEnabled": boolean(computed=True),
    },
    outputs=(
        "arn",
        "bucketDomainName",
        "bucketRegion",
        "bucketRegionalDomainName",
        "hostedZoneId",
        "websiteDomain",
        "websiteEndpoint",
    ),
    replaces=dict.fromkeys(("bucket", "objectLockEnabled"), "internal/service/s3/bucket.go"),
    create=_create_bucket,
    finish=_finish_bucket,
    read=_read_bucket,
    delete=_delete_bucket,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName("bucket", longest=63, lower=True),
)


# Settings of a bucket -------------------------------------------------------------------------------------------


def _setting(
    name: str,
    fields: dict[str, Property],
    put: Callable[[Any, str, Args], Any],
    get: Callable[[Any, str], Args | None],
    delete: Callable[[Any, str], Any],
    remains: bool = False,
) -> Resource:
    """A resource that is one setting of a bucket: its id is the bucket's name."""

    def create(aws: Aws, args: Args) -> str:
        put(aws.client("s3"), args["bucket"], args)
        return args["bucket"]

    def read(aws: Aws, identifier: str, _: Args) -> Args | None:
        found = find(lambda: get(aws.client("s3"), identifier), *_GONE, "NoSuch*", "*NotFound*")
        return found and {"bucket": identifier, **found}

    def update(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
        put(aws.client("s3"), identifier, new)

    def remove(aws: Aws, identifier: str, _: Args) -> None:
        with ignoring(*_GONE, "NoSuch*", "*NotFound*"):
            delete(aws.client("s3"), identifier)

    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return Resource(
        type_name=f"aws:s3/{name[0].lower()}{name[1:]}:{name}",
        inputs={"bucket": text(required=True), **fields},
        outputs=(),
        replaces={"bucket": f"internal/service/s3/{snake}.go"},
        create=create,
        read=read,
        update=update,
        delete=remove,
        identity=("bucket",),
        remains=remains,
    )


_ACCESS: Final = {
    name: boolean(default=False)
    for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
}
PUBLIC_ACCESS_BLOCK: Final = _setting(
    "BucketPublicAccessBlock",
    _ACCESS,
    put=lambda s3, bucket, args: s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=request(_ACCESS, args)
    ),
    get=lambda s3, bucket: answer(
        _ACCESS, s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    ),
    delete=lambda s3, bucket: s3.delete_public_access_block(Bucket=bucket),
)

_OWNERSHIP: Final = {"rule": block({"objectOwnership": text(required=True)}, required=True)}
OWNERSHIP_CONTROLS: Final = _setting(
    "BucketOwnershipControls",
    _OWNERSHIP,
    put=lambda s3, bucket, args: s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [request(_OWNERSHIP, args)["Rule"]]}
    ),
    get=lambda s3, bucket: answer(
        _OWNERSHIP, {"Rule": s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]}
    ),
    delete=lambda s3, bucket: s3.delete_bucket_ownership_controls(Bucket=bucket),
)

_VERSIONING: Final = {
    "versioningConfiguration": block(
        {"mfaDelete": text(computed=True, api="MFADelete"), "status": text(required=True)}, required=True
    )
}


def _put_versioning(s3: Any, bucket: str, args: Args) -> None:
    # A bucket that never was versioned is "Disabled", which cannot be put (`resourceBucketVersioningCreate`).
    if args["versioningConfiguration"]["status"] != "Disabled":
        s3.put_bucket_versioning(Bucket=bucket, **request(_VERSIONING, args))


def _get_versioning(s3: Any, bucket: str) -> Args:
    told = s3.get_bucket_versioning(Bucket=bucket)
    return answer(_VERSIONING, {"VersioningConfiguration": {"Status": "Disabled", **told}})


VERSIONING: Final = _setting(
    "BucketVersioning",
    _VERSIONING,
    put=_put_versioning,
    get=_get_versioning,
    # Versioning cannot be taken back, only suspended (`resourceBucketVersioningDelete`).
    delete=lambda s3, bucket: s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
    ),
    remains=True,
)

_ENCRYPTION: Final = {
    "rules": unordered(
        block(
            {
                "applyServerSideEncryptionByDefault": block(
                    {
                        "kmsMasterKeyId": text(api="KMSMasterKeyID"),
                        "sseAlgorithm": text(required=True, api="SSEAlgorithm"),
                    }
                ),
                "bucketKeyEnabled": boolean(),
            }
        ),
        required=True,
    )
}
ENCRYPTION: Final = _setting(
    "BucketServerSideEncryptionConfiguration",
    _ENCRYPTION,
    put=lambda s3, bucket, args: s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration=request(_ENCRYPTION, args)
    ),
    get=lambda s3, bucket: answer(
        _ENCRYPTION, s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    ),
    delete=lambda s3, bucket: s3.delete_bucket_encryption(Bucket=bucket),
    # A bucket always has some encryption (`resourceBucketServerSideEncryptionConfigurationDelete`).
    remains=True,
)

BUCKET_POLICY: Final = _setting(
    "BucketPolicy",
    {"policy": document(required=True)},
    put=lambda s3, bucket, args: s3.put_bucket_policy(Bucket=bucket, Policy=args["policy"]),
    get=lambda s3, bucket: {"policy": s3.get_bucket_policy(Bucket=bucket)["Policy"]},
    delete=lambda s3, bucket: s3.delete_bucket_policy(Bucket=bucket),
)

_SIZES: Final = {"objectSizeGreaterThan": integer(), "objectSizeLessThan": integer(), "prefix": text(computed=True)}
_AGE: Final = {"days": integer(), "date": text()}
_LATER: Final = {"noncurrentDays": integer(required=True), "newerNoncurrentVersions": integer()}
_LIFECYCLE: Final = {
    "rules": sequence(
        block(
            {
                "id": text(required=True, api="ID"),
                "status": text(required=True),
                "filter": block({**_SIZES}, computed=True),
                "expiration": block({**_AGE, "expiredObjectDeleteMarker": boolean()}),
                "transitions": unordered(block({**_AGE, "storageClass": text(required=True)})),
                "noncurrentVersionExpiration": block(_LATER),
                "noncurrentVersionTransitions": unordered(block({**_LATER, "storageClass": text(required=True)})),
                "abortIncompleteMultipartUpload": block({"daysAfterInitiation": integer()}),
            }
        ),
        required=True,
    )
}


def _put_lifecycle(s3: Any, bucket: str, args: Args) -> None:
    wanted = request(_LIFECYCLE, args)
    for rule in wanted["Rules"]:
        # A rule without a filter is one for all objects, which S3 wants to be said.
        rule["Filter"] = rule.get("Filter") or {"Prefix": ""}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=wanted)


LIFECYCLE: Final = _setting(
    "BucketLifecycleConfiguration",
    _LIFECYCLE,
    put=_put_lifecycle,
    get=lambda s3, bucket: answer(_LIFECYCLE, s3.get_bucket_lifecycle_configuration(Bucket=bucket)),
    delete=lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket),
)

RESOURCES: Final = (
    BUCKET,
    PUBLIC_ACCESS_BLOCK,
    OWNERSHIP_CONTROLS,
    VERSIONING,
    ENCRYPTION,
    BUCKET_POLICY,
    LIFECYCLE,
)
