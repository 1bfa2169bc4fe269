"""Flow logs of VPCs, subnets and network interfaces."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, Resource
from envs.sandbox.provider.schema import integer, text
from envs.sandbox.provider.translate import answer, request, tag_map

_SOURCE: Final = "internal/service/ec2/vpc_flow_log.go"
_SUBJECTS: Final = {"vpcId": "VPC", "subnetId": "Subnet", "eniId": "NetworkInterface"}
"""What can be watched -> its name in AWS's API."""
_PREFIXES: Final = {"vpcId": "vpc-", "subnetId": "subnet-", "eniId": "eni-"}
_SETTINGS: Final = {
    "iamRoleArn": text(api="DeliverLogsPermissionArn"),
    # The ARN of a log group is told with and without the part that stands for its streams.
    "logDestination": text(computed=True, same=lambda old, new: old.removesuffix(":*") == new.removesuffix(":*")),
    "logDestinationType": text(default="cloud-watch-logs"),
    "logFormat": text(computed=True),
    "maxAggregationInterval": integer(default=600),
    "trafficType": text(),
}


def _create(aws: Aws, args: Args) -> str:
    subjects = [name for name in _SUBJECTS if args.get(name)]
    if len(subjects) != 1:
        raise ProviderError(f"a flow log watches exactly one thing: set one of {', '.join(_SUBJECTS)}")
    wanted = request(_SETTINGS, args)
    if destination := args.get("logDestination"):
        wanted["LogDestination"] = destination.removesuffix(":*")
    made = aws.client("ec2").create_flow_logs(
        ResourceType=_SUBJECTS[subjects[0]],
        ResourceIds=[args[subjects[0]]],
        **wanted,
        **specifications("vpc-flow-log", args),
    )
    for refused in made["Unsuccessful"]:
        raise ProviderError(f"CreateFlowLogs: {refused['Error']['Code']}: {refused['Error']['Message']}")
    return made["FlowLogIds"][0]


def _check_delivery(aws: Aws, identifier: str, _: Args) -> None:
    """The official provider does not look: on AWS the first delivery fails after it is done, and nobody is told."""
    found = _flow_log(aws, identifier) or {}
    if found.get("DeliverLogsStatus") == "FAILED":
        raise ProviderError(
            f"its logs cannot be delivered: {found.get('DeliverLogsErrorMessage')}. The log group must exist, and "
            "the role must be allowed to create and list log streams in it and to put events"
        )


def _flow_log(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_flow_logs
    found = find(lambda: describe(FlowLogIds=[identifier])["FlowLogs"], "InvalidFlowLogId.NotFound")
    return found[0] if found else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _flow_log(aws, identifier)
    if found is None:
        return None
    subject = next(name for name, prefix in _PREFIXES.items() if found["ResourceId"].startswith(prefix))
    return {
        **answer(_SETTINGS, found),
        subject: found["ResourceId"],
        "arn": aws.arn("ec2", f"vpc-flow-log/{identifier}"),
        "tagsAll": tag_map(found.get("Tags")),
    }


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidFlowLogId.NotFound"):
        aws.client("ec2").delete_flow_logs(FlowLogIds=[identifier])


FLOW_LOG: Final = Resource(
    type_name="aws:ec2/flowLog:FlowLog",
    inputs={**dict.fromkeys(_SUBJECTS, text()), **_SETTINGS},
    outputs=("arn",),
    replaces=dict.fromkeys((*_SUBJECTS, *_SETTINGS), _SOURCE),
    create=_create,
    finish=_check_delivery,
    read=_read,
    delete=_delete,
    tagging=TAGGING,
)

RESOURCES: Final = (FLOW_LOG,)
