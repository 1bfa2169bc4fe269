"""All emulated resource types by token. A new type is an entry in its service's file, listed here by its service."""

from typing import Final

from envs.sandbox.provider import (
    autoscaling,
    autoscaling_parts,
    budgets,
    cloudwatch,
    dlm,
    ec2,
    efs,
    efs_access,
    events,
    firehose,
    flow_logs,
    fsx,
    grants,
    iam,
    instance_profiles,
    kms,
    lambda_,
    lambda_callers,
    launch_templates,
    load_balancers,
    logs,
    msk,
    msk_contents,
    nat,
    network_interfaces,
    prefix_lists,
    routes,
    s3,
    s3_objects,
    secretsmanager,
    security_group_rules,
    sns,
    sqs,
    target_groups,
    volumes,
    vpc,
)
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Resource

_SERVICES: Final = (
    autoscaling,
    autoscaling_parts,
    budgets,
    cloudwatch,
    dlm,
    ec2,
    efs,
    efs_access,
    events,
    firehose,
    flow_logs,
    fsx,
    grants,
    iam,
    instance_profiles,
    kms,
    lambda_,
    lambda_callers,
    launch_templates,
    load_balancers,
    logs,
    msk,
    msk_contents,
    nat,
    network_interfaces,
    prefix_lists,
    routes,
    s3,
    s3_objects,
    secretsmanager,
    security_group_rules,
    sns,
    sqs,
    target_groups,
    volumes,
    vpc,
)
TYPES: Final[dict[str, Resource]] = {entry.type_name: entry for service in _SERVICES for entry in service.RESOURCES}


def find_type(token: str) -> Resource:
    """The declared type. Raises `ProviderError` that names an unknown one and says how to add it."""
    if token in TYPES:
        return TYPES[token]
    known = ", ".join(sorted(TYPES))
    raise ProviderError(
        f"the sandbox does not emulate the resource type {token}. To add it, declare a Resource in the file of its "
        f"service in envs/sandbox/provider/ (and list a new file in registry.py). Emulated are: {known}"
    )
