"""Objects of a bucket that the program itself puts there."""

from typing import Any, Final

from envs.sandbox.provider.archives import content
from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, Resource, Tagging
from envs.sandbox.provider.schema import asset, boolean, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_SOURCE: Final = "internal/service/s3/object.go"
_GONE: Final = ("404", "NoSuchKey", "NoSuchBucket")
_OBJECT: Final = {
    "bucket": text(required=True),
    "bucketKeyEnabled": boolean(computed=True),
    "content": text(write_only=True, api="Body"),
    "contentType": text(computed=True),
    "key": text(required=True),
    "kmsKeyId": text(computed=True, api="SSEKMSKeyId"),
    "serverSideEncryption": text(computed=True),
    "source": asset(api="Body"),
    "sourceHash": text(write_only=True),
    "storageClass": text(computed=True),
}
_CHECKSUMS: Final = {
    "checksumCrc32": "ChecksumCRC32",
    "checksumCrc32c": "ChecksumCRC32C",
    "checksumCrc64nvme": "ChecksumCRC64NVME",
    "checksumSha1": "ChecksumSHA1",
    "checksumSha256": "ChecksumSHA256",
}


def _place(identifier: str) -> dict[str, str]:
    bucket, _, key = identifier.partition("/")
    return {"Bucket": bucket, "Key": key}


def _put(aws: Aws, args: Args) -> str:
    wanted = request(_OBJECT, args, [name for name in _OBJECT if name not in ("source", "sourceHash")])
    if args.get("source") is not None:
        wanted["Body"] = content(args["source"])
    s3 = aws.client("s3")
    s3.put_object(**wanted)
    identifier = f"{args['bucket']}/{args['key']}"
    _set_tags(aws, identifier, args.get("tagsAll") or {})
    return identifier


def _set_tags(aws: Aws, identifier: str, tags: dict[str, str]) -> None:
    s3 = aws.client("s3")
    if tags:
        s3.put_object_tagging(**_place(identifier), Tagging={"TagSet": tag_list(tags)})
    else:
        s3.delete_object_tagging(**_place(identifier))


def _tags(aws: Aws, identifier: str) -> dict[str, str]:
    return tag_map(aws.client("s3").get_object_tagging(**_place(identifier))["TagSet"])


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    # S3 sets all tags at once.
    _set_tags(aws, identifier, {**_tags(aws, identifier), **tags})


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    _set_tags(aws, identifier, {key: value for key, value in _tags(aws, identifier).items() if key not in keys})


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    place = _place(identifier)
    found: Any = find(lambda: aws.client("s3").head_object(**place, ChecksumMode="ENABLED"), *_GONE)
    return found and {
        **answer(_OBJECT, found, ("bucketKeyEnabled", "contentType", "kmsKeyId", "serverSideEncryption")),
        "bucket": place["Bucket"],
        "key": place["Key"],
        # S3 does not tell the ordinary class (`resourceObjectRead`).
        "storageClass": found.get("StorageClass", "STANDARD"),
        **{name: found.get(api, "") for name, api in _CHECKSUMS.items()},
        "arn": f"arn:{aws.partition}:s3:::{identifier}",
        "versionId": found.get("VersionId", ""),
        "tagsAll": _tags(aws, identifier),
    }


def _update(aws: Aws, _: str, __: Args, new: Args, changed: set[str]) -> None:
    if changed - {"forceDestroy"}:
        _put(aws, new)


def _delete(aws: Aws, identifier: str, state: Args) -> None:
    s3, place = aws.client("s3"), _place(identifier)
    with ignoring(*_GONE):
        if not state.get("versionId"):
            s3.delete_object(**place)
            return
        # All versions go, or a bucket with nothing declared in it could not be deleted (`deleteAllObjectVersions`).
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=place["Bucket"], Prefix=place["Key"])
        for page in pages:
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                if each["Key"] == place["Key"]:
                    s3.delete_object(**place, VersionId=each["VersionId"])


OBJECT: Final = Resource(
    type_name="aws:s3/bucketObjectv2:BucketObjectv2",
    inputs={**_OBJECT, "forceDestroy": boolean(default=False, write_only=True)},
    outputs=("arn", *_CHECKSUMS, "versionId"),
    replaces=dict.fromkeys(("bucket", "key"), _SOURCE),
    create=_put,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
    identity=("bucket", "key"),
    recomputed_by=dict.fromkeys((*_CHECKSUMS, "versionId"), tuple(_OBJECT)),
)

RESOURCES: Final = (OBJECT,)
