"""CloudWatch Logs: log groups that are encrypted only with keys that let the service in, and kept for known times.

CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS KMS": the key's policy must allow the
service ``logs.<region>.amazonaws.com`` to use it. API Reference, PutRetentionPolicy: the possible values.
"""

import json
from typing import Any, Final

from moto.core.exceptions import JsonRESTError
from moto.kms.models import kms_backends
from moto.logs import urls
from moto.logs.models import LogGroup, LogsBackend, logs_backends
from moto.logs.responses import LogsResponse

from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host

RETENTIONS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""Days for which events can be kept; no policy means for ever."""


class GroupsBackend(LogsBackend):
    """moto's backend, with AWS's refusals."""

    @property
    def _url_module(self) -> Any:
        return urls

    def create_log_group(self, log_group_name: str, tags: dict[str, str], **kwargs: Any) -> LogGroup:
        if key := kwargs.get("kmsKeyId"):
            self.check_key(key, log_group_name)
        return super().create_log_group(log_group_name, tags, **kwargs)

    def put_retention_policy(self, log_group_name: str, retention_in_days: str) -> None:
        if int(retention_in_days) not in RETENTIONS:
            raise JsonRESTError(
                "InvalidParameterException",
                f"1 validation error detected: Value '{retention_in_days}' at 'retentionInDays' failed to satisfy "
                f"constraint: Member must satisfy enum value set: {list(RETENTIONS)}",
            )
        super().put_retention_policy(log_group_name, retention_in_days)

    def check_key(self, key_arn: str, group: str) -> None:
        """A key that this service may use for this group. Raises InvalidParameterException."""
        group_arn = f"arn:aws:logs:{self.region_name}:{self.account_id}:log-group:{group}"
        kms = kms_backends[self.account_id][self.region_name]
        key = kms.keys.get(kms.get_key_id(key_arn))
        call = policy.Call(
            "kms:GenerateDataKey",
            service=f"logs.{self.region_name}.amazonaws.com",
            context={"kms:EncryptionContext:aws:logs:arn": group_arn},
        )
        if key is None or key.key_state != "Enabled" or not policy.allows(key.policy, call):
            raise JsonRESTError(
                "InvalidParameterException",
                f"The specified KMS key does not exist or is not allowed to be used with LogGroup '{group_arn}'",
            )


class _Response(LogsResponse):
    """moto's responses, with the class of a log group."""

    def create_log_group(self) -> str:
        answer = super().create_log_group()
        group = self.logs_backend.groups[self._get_param("logGroupName")]
        group.log_group_class = self._get_param("logGroupClass") or "STANDARD"  # type: ignore[attr-defined]
        return answer

    def describe_log_groups(self) -> str:
        told = json.loads(super().describe_log_groups())
        for each in told["logGroups"]:
            group = self.logs_backend.groups[each["logGroupName"]]
            each["logGroupClass"] = getattr(group, "log_group_class", "STANDARD")
        return json.dumps(told)

    def associate_kms_key(self) -> str:
        name, key = self._get_param("logGroupName"), self._get_param("kmsKeyId")
        backend = self.logs_backend
        assert isinstance(backend, GroupsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        if name not in backend.groups:
            raise JsonRESTError("ResourceNotFoundException", "The specified log group does not exist.")
        backend.check_key(key, name)
        backend.groups[name].kms_key_id = key
        return ""

    def disassociate_kms_key(self) -> str:
        name = self._get_param("logGroupName")
        if name not in self.logs_backend.groups:
            raise JsonRESTError("ResourceNotFoundException", "The specified log group does not exist.")
        self.logs_backend.groups[name].kms_key_id = None
        return ""


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    logs_backends.backend = GroupsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
