"""Security group rules keep their description whatever their source is; moto keeps it for address ranges only."""

import inspect
from typing import Any

from moto.ec2.models import security_groups
from moto.ec2.models.security_groups import SecurityGroupRule

from envs.sandbox.aws.host import Host


class Rule(SecurityGroupRule):
    """A rule with a description of its own (Amazon EC2 API Reference, "SecurityGroupRule")."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        given = inspect.signature(SecurityGroupRule).bind(*arguments, **options).arguments
        prefix_list = given.get("prefix_list_id") or {}
        self._first_description = self.source_group.pop("Description", None) or prefix_list.get("Description")

    @property
    def description(self) -> str | None:
        """What the rule was made with, or what a later ModifySecurityGroupRules gave it."""
        return self.ip_range.get("Description", self._first_description)


def install(_host: Host) -> None:
    """Makes moto's security groups consist of such rules."""
    security_groups.SecurityGroupRule = Rule  # type: ignore[misc]
