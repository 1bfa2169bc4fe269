"""EC2: flow logs that need a role which the service may take and which may write where they go.

VPC User Guide, "IAM role for publishing flow logs to CloudWatch Logs" and "Troubleshoot VPC Flow Logs" ("Access
error"). What the refusal of a role says: hashicorp/terraform-provider-aws issue 29323. On AWS a log that cannot be
delivered shows its error with the first delivery, here at once.
"""

from typing import Any, ClassVar, Final

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.flow_logs import FlowLogs as FlowLog

from envs.sandbox.aws import lambda_rules, policy, sts
from envs.sandbox.aws.host import Host

_SERVICE: Final = "vpc-flow-logs.amazonaws.com"
_TO_LOGS: Final = "cloud-watch-logs"
_RIGHTS: Final = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")


class FlowLogs(EC2Backend):
    """moto's flow logs, with what AWS asks of their role."""

    host: ClassVar[Host]

    def create_flow_logs(
        self,
        resource_type: str,
        resource_ids: list[str],
        traffic_type: str,
        deliver_logs_permission_arn: str | None,
        log_destination_type: str | None,
        log_destination: str | None,
        log_group_name: str | None,
        log_format: str,
        max_aggregation_interval: int,
    ) -> tuple[list[FlowLog], list[Any]]:
        to_logs = (log_destination_type or _TO_LOGS) == _TO_LOGS
        if to_logs and log_destination:
            # moto looks for the group by the name alone, which a request with the group's ARN does not give.
            log_group_name = log_destination.removesuffix(":*").rpartition(":log-group:")[2]
        if not to_logs and deliver_logs_permission_arn:
            raise EC2ClientError(
                "InvalidParameter", f"DeliverLogsPermissionArn is not applicable for {log_destination_type} delivery"
            )
        # Without a role moto refuses the request itself.
        may_write = not deliver_logs_permission_arn or self._may_write(deliver_logs_permission_arn, log_group_name)
        made, failed = super().create_flow_logs(
            resource_type,
            resource_ids,
            traffic_type,
            deliver_logs_permission_arn,  # type: ignore[arg-type]
            log_destination_type,  # type: ignore[arg-type]
            log_destination,  # type: ignore[arg-type]
            log_group_name,  # type: ignore[arg-type]
            log_format,
            max_aggregation_interval,
        )
        for each in made:
            if not may_write:
                each.deliver_logs_status, each.deliver_logs_error_message = "FAILED", "Access error"
        return made, failed

    def _may_write(self, role_arn: str, group: str | None) -> bool:
        try:
            role = sts.trusted_role(self.host.account, role_arn, _SERVICE)
        except sts.TrustError as error:
            raise EC2ClientError(
                "InvalidParameter", f"Unable to assume given IAM role: '{role_arn}' ({error})"
            ) from error
        documents = lambda_rules.role_documents(role)
        stream = f"arn:aws:logs:{self.region_name}:{self.account_id}:log-group:{group}:log-stream:eni-all"
        return all(policy.permits(documents, action, stream) for action in _RIGHTS)
