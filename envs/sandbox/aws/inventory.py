"""What exists in an account: the list that must be empty after an environment was taken down.

Every service that the platform uses, or will, is asked through its public API. Not listed, because AWS keeps them on
its own or for a while, and no `down` could remove them: KMS keys that are pending deletion (7 to 30 days on AWS) and
AWS's own keys, aliases and prefix lists; the parts that come and go with a VPC (its main route table, default
security group and default network ACL); terminated instances; deleted NAT gateways; service-linked roles; buses named
``default``.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import boto3

from envs.sandbox.account import ACCOUNT_ID

Lister = Callable[[Any], Iterable[str]]


def inventory(session: boto3.Session) -> list[str]:
    """Readable ids (``<service> <kind> <id>``) of all resources of the session's account and region, sorted.

    Raises botocore's errors when a service does not answer: an inventory with holes would prove nothing.
    """

    def ask(entry: tuple[str, str, Lister]) -> list[str]:
        service, kind, lister = entry
        return [f"{service} {kind} {name}" for name in lister(clients[service])]

    # Clients are made one after the other: a boto3 session is not safe to share while it makes them.
    clients = {service: session.client(service) for service in {service for service, _, _ in _LISTERS}}  # type: ignore[call-overload]
    with ThreadPoolExecutor(max_workers=4) as pool:
        return sorted(name for names in pool.map(ask, _LISTERS) for name in names)


def _all(operation: str, result: str, key: str | None = None, **arguments: Any) -> Lister:
    """A lister by one paginated operation: the field `key` of each entry of `result`, or the entry itself."""

    def lister(client: Any) -> Iterator[str]:
        for entry in _pages(client, operation, result, **arguments):
            yield entry if key is None else entry[key]

    return lister


def _pages(client: Any, operation: str, result: str, **arguments: Any) -> Iterator[Any]:
    if client.can_paginate(operation):
        for page in client.get_paginator(operation).paginate(**arguments):
            yield from page.get(result, [])
    else:
        yield from getattr(client, operation)(**arguments).get(result, [])


def _route_tables(client: Any) -> Iterator[str]:
    for table in _pages(client, "describe_route_tables", "RouteTables"):
        if not any(association.get("Main") for association in table.get("Associations", [])):
            yield table["RouteTableId"]


def _nat_gateways(client: Any) -> Iterator[str]:
    for gateway in _pages(client, "describe_nat_gateways", "NatGateways"):
        if gateway["State"] != "deleted":
            yield gateway["NatGatewayId"]


def _security_groups(client: Any) -> Iterator[str]:
    for group in _pages(client, "describe_security_groups", "SecurityGroups"):
        if group["GroupName"] != "default":
            yield group["GroupId"]


def _instances(client: Any) -> Iterator[str]:
    for reservation in _pages(client, "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] != "terminated":
                yield instance["InstanceId"]


def _prefix_lists(client: Any) -> Iterator[str]:
    for found in _pages(client, "describe_managed_prefix_lists", "PrefixLists"):
        if found.get("OwnerId") != "AWS":
            yield found["PrefixListId"]


def _snapshots(client: Any) -> Iterator[str]:
    for snapshot in _pages(client, "describe_snapshots", "Snapshots", OwnerIds=["self"]):
        yield snapshot["SnapshotId"]


def _network_acls(client: Any) -> Iterator[str]:
    for found in _pages(client, "describe_network_acls", "NetworkAcls"):
        if not found["IsDefault"]:
            yield found["NetworkAclId"]


def _roles(client: Any) -> Iterator[str]:
    for role in _pages(client, "list_roles", "Roles"):
        if not role["Path"].startswith("/aws-service-role/"):
            yield role["RoleName"]


def _kms_keys(client: Any) -> Iterator[str]:
    for key in _pages(client, "list_keys", "Keys"):
        about = client.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if about["KeyManager"] == "CUSTOMER" and about["KeyState"] != "PendingDeletion":
            yield key["KeyId"]


def _kms_aliases(client: Any) -> Iterator[str]:
    for alias in _pages(client, "list_aliases", "Aliases"):
        if not alias["AliasName"].startswith("alias/aws/"):
            yield alias["AliasName"]


def _parameters(client: Any) -> Iterator[str]:
    for found in _pages(client, "describe_parameters", "Parameters"):
        if not found["Name"].startswith("/aws/service/"):
            yield found["Name"]


def _event_buses(client: Any) -> Iterator[str]:
    for bus in _pages(client, "list_event_buses", "EventBuses"):
        if bus["Name"] != "default":
            yield bus["Name"]


def _schedule_groups(client: Any) -> Iterator[str]:
    for group in _pages(client, "list_schedule_groups", "ScheduleGroups"):
        if group["Name"] != "default":
            yield group["Name"]


def _listing(service: str, *kinds: tuple[str, Lister]) -> list[tuple[str, str, Lister]]:
    return [(service, kind, lister) for kind, lister in kinds]


_LISTERS: Final[list[tuple[str, str, Lister]]] = [
    *_listing(
        "ec2",
        ("vpc", _all("describe_vpcs", "Vpcs", "VpcId")),
        ("subnet", _all("describe_subnets", "Subnets", "SubnetId")),
        ("route-table", _route_tables),
        ("internet-gateway", _all("describe_internet_gateways", "InternetGateways", "InternetGatewayId")),
        ("nat-gateway", _nat_gateways),
        ("vpc-endpoint", _all("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId")),
        ("security-group", _security_groups),
        ("network-acl", _network_acls),
        ("network-interface", _all("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId")),
        ("elastic-ip", _all("describe_addresses", "Addresses", "AllocationId")),
        ("flow-log", _all("describe_flow_logs", "FlowLogs", "FlowLogId")),
        ("prefix-list", _prefix_lists),
        ("launch-template", _all("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId")),
        ("key-pair", _all("describe_key_pairs", "KeyPairs", "KeyName")),
        ("instance", _instances),
        ("volume", _all("describe_volumes", "Volumes", "VolumeId")),
        ("snapshot", _snapshots),
    ),
    *_listing(
        "elbv2",
        ("load-balancer", _all("describe_load_balancers", "LoadBalancers", "LoadBalancerArn")),
        ("target-group", _all("describe_target_groups", "TargetGroups", "TargetGroupArn")),
    ),
    *_listing(
        "efs",
        ("file-system", _all("describe_file_systems", "FileSystems", "FileSystemId")),
        ("access-point", _all("describe_access_points", "AccessPoints", "AccessPointId")),
    ),
    *_listing(
        "fsx",
        ("file-system", _all("describe_file_systems", "FileSystems", "FileSystemId")),
        ("backup", _all("describe_backups", "Backups", "BackupId")),
    ),
    *_listing(
        "autoscaling",
        ("group", _all("describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName")),
        (
            "launch-configuration",
            _all("describe_launch_configurations", "LaunchConfigurations", "LaunchConfigurationName"),
        ),
        ("policy", _all("describe_policies", "ScalingPolicies", "PolicyName")),
    ),
    *_listing(
        "kafka",
        ("cluster", _all("list_clusters", "ClusterInfoList", "ClusterArn")),
        ("configuration", _all("list_configurations", "Configurations", "Arn")),
    ),
    *_listing("firehose", ("delivery-stream", _all("list_delivery_streams", "DeliveryStreamNames"))),
    *_listing("dlm", ("policy", _all("get_lifecycle_policies", "Policies", "PolicyId"))),
    *_listing("kinesis", ("stream", _all("list_streams", "StreamNames"))),
    *_listing("s3", ("bucket", _all("list_buckets", "Buckets", "Name"))),
    *_listing(
        "lambda",
        ("function", _all("list_functions", "Functions", "FunctionName")),
        ("event-source-mapping", _all("list_event_source_mappings", "EventSourceMappings", "UUID")),
        ("layer", _all("list_layers", "Layers", "LayerName")),
    ),
    *_listing("logs", ("log-group", _all("describe_log_groups", "logGroups", "logGroupName"))),
    *_listing("sqs", ("queue", _all("list_queues", "QueueUrls"))),
    *_listing(
        "sns",
        ("topic", _all("list_topics", "Topics", "TopicArn")),
        ("subscription", _all("list_subscriptions", "Subscriptions", "SubscriptionArn")),
    ),
    *_listing(
        "iam",
        ("role", _roles),
        ("policy", _all("list_policies", "Policies", "Arn", Scope="Local")),
        ("instance-profile", _all("list_instance_profiles", "InstanceProfiles", "InstanceProfileName")),
        ("user", _all("list_users", "Users", "UserName")),
        ("group", _all("list_groups", "Groups", "GroupName")),
    ),
    *_listing("kms", ("key", _kms_keys), ("alias", _kms_aliases)),
    *_listing("secretsmanager", ("secret", _all("list_secrets", "SecretList", "Name"))),
    *_listing(
        "ssm",
        ("parameter", _parameters),
        (
            "document",
            _all("list_documents", "DocumentIdentifiers", "Name", Filters=[{"Key": "Owner", "Values": ["Self"]}]),
        ),
    ),
    *_listing("events", ("rule", _all("list_rules", "Rules", "Name")), ("bus", _event_buses)),
    *_listing("scheduler", ("schedule", _all("list_schedules", "Schedules", "Name")), ("group", _schedule_groups)),
    *_listing("dynamodb", ("table", _all("list_tables", "TableNames"))),
    *_listing(
        "glue",
        ("database", _all("get_databases", "DatabaseList", "Name")),
        ("crawler", _all("list_crawlers", "CrawlerNames")),
        ("job", _all("list_jobs", "JobNames")),
    ),
    *_listing("emr-serverless", ("application", _all("list_applications", "applications", "id"))),
    *_listing("budgets", ("budget", _all("describe_budgets", "Budgets", "BudgetName", AccountId=ACCOUNT_ID))),
    *_listing(
        "cloudwatch",
        ("alarm", _all("describe_alarms", "MetricAlarms", "AlarmName")),
        ("dashboard", _all("list_dashboards", "DashboardEntries", "DashboardName")),
    ),
    *_listing(
        "iot",
        ("thing", _all("list_things", "things", "thingName")),
        ("policy", _all("list_policies", "policies", "policyName")),
        ("topic-rule", _all("list_topic_rules", "rules", "ruleName")),
    ),
]
