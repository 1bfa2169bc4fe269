"""Programs for the real engine: one with every emulated type, and small ones for one question each."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.fleet import Fleet, FleetArgs
from infra.sections import Fleet as FleetSettings

REGION = "eu-central-1"
ACCOUNT = "123456789012"


def provider(name: str = "sandbox", tags: Mapping[str, str] | None = None) -> aws.Provider:
    """A provider instance on the emulated account with default tags of its own."""
    default = {"default_tags": {"tags": dict(tags)}} if tags else {}
    return aws.Provider(name, region=REGION, allowed_account_ids=[ACCOUNT], **default)  # type: ignore[arg-type]


def allow(action: str, resource: Any, **more: Any) -> Any:
    """A policy with one statement, as JSON."""

    def document(target: str) -> str:
        statement = {"Effect": "Allow", "Action": [action], **({"Resource": target} if target else {}), **more}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    return pulumi.Output.from_input(resource).apply(document)


def everything(folder: str, days: int = 7, owner: str = "one") -> None:
    """Every type; `days` and `owner` change something in place in many of them."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    untagged = pulumi.ResourceOptions(provider=provider("untagged"))
    invoke = pulumi.InvokeOptions(provider=by.provider)
    me = aws.get_caller_identity(opts=invoke)
    zones = aws.get_availability_zones(state="available", opts=invoke).names[:3]

    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags={"Days": str(days)}, opts=by)
    subnets = [
        aws.ec2.Subnet(f"subnet-{at}", vpc_id=vpc.id, cidr_block=f"10.0.{at}.0/24", availability_zone=zone, opts=by)
        for at, zone in enumerate(zones)
    ]
    gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=by)
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id, opts=by)
    aws.ec2.Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id, opts=by)
    aws.ec2.RouteTableAssociation("first", route_table_id=table.id, subnet_id=subnets[0].id, opts=by)
    aws.ec2.DefaultSecurityGroup("default", vpc_id=vpc.id, opts=by)
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="brokers", opts=by)
    https: aws.ec2.SecurityGroupIngressArgsDict = {
        "protocol": "tcp",
        "from_port": 443,
        "to_port": 443,
        "cidr_blocks": ["10.0.0.0/16"],
        "self": True,
    }
    aws.ec2.SecurityGroup("endpoints", vpc_id=vpc.id, ingress=[https], opts=by)
    aws.vpc.SecurityGroupIngressRule(
        "kafka",
        security_group_id=group.id,
        ip_protocol="tcp",
        from_port=9098,
        to_port=9098 + days,
        referenced_security_group_id=group.id,
        opts=by,
    )
    aws.vpc.SecurityGroupEgressRule(
        "all", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0", opts=by
    )
    aws.ec2.VpcEndpoint(
        "s3", vpc_id=vpc.id, service_name=f"com.amazonaws.{REGION}.s3", route_table_ids=[table.id], opts=by
    )
    aws.ec2.VpcEndpoint(
        "logs",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{REGION}.logs",
        vpc_endpoint_type="Interface",
        private_dns_enabled=True,
        subnet_ids=[subnet.id for subnet in subnets],
        security_group_ids=[group.id],
        opts=by,
    )

    root = {"AWS": f"arn:aws:iam::{me.account_id}:root"}
    key = aws.kms.Key(
        "key",
        deletion_window_in_days=days,
        enable_key_rotation=True,
        policy=allow("kms:*", "*", Principal=root),
        opts=by,
    )
    aws.kms.Alias("alias", target_key_id=key.id, opts=by)
    logs = aws.cloudwatch.LogGroup("logs", retention_in_days=days, opts=by)
    stream = aws.cloudwatch.LogStream("stream", log_group_name=logs.name, opts=by)
    services = {"Service": ["lambda.amazonaws.com", "firehose.amazonaws.com"]}
    role = aws.iam.Role(
        "role", assume_role_policy=allow("sts:AssumeRole", "", Principal=services), description=owner, opts=by
    )
    aws.iam.RolePolicy("writes", role=role.name, policy=allow("logs:PutLogEvents", logs.arn), opts=by)

    bucket = _bucket(key, days, by)
    dead = aws.sqs.Queue("dead", message_retention_seconds=days * 86400, kms_master_key_id=key.id, opts=by)
    sends = aws.iam.RolePolicy("sends", role=role.name, policy=allow("sqs:SendMessage", dead.arn), opts=by)
    redrive = dead.arn.apply(lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
    queue = aws.sqs.Queue("queue", redrive_policy=redrive, opts=by)
    events = allow("sqs:SendMessage", queue.arn, Principal={"Service": "events.amazonaws.com"})
    aws.sqs.QueuePolicy("events", queue_url=queue.url, policy=events, opts=by)

    code = {"main.py": pulumi.StringAsset(f"DAYS = {days}\n"), "data": pulumi.FileArchive(folder)}
    function = aws.lambda_.Function(
        "function",
        role=role.arn,
        runtime="python3.11",
        handler="main.handler",
        code=pulumi.AssetArchive(code),
        environment={"variables": {"OWNER": owner}},
        timeout=60,
        opts=by,
    )
    aws.lambda_.FunctionEventInvokeConfig(
        "failures",
        function_name=function.name,
        maximum_retry_attempts=1,
        destination_config={"on_failure": {"destination": dead.arn}},
        opts=pulumi.ResourceOptions(provider=by.provider, depends_on=[sends]),
    )
    _kafka(subnets, group, key, logs, days, by)
    aws.kinesis.FirehoseDeliveryStream(
        "delivery",
        destination="extended_s3",
        extended_s3_configuration={
            "bucket_arn": bucket.arn,
            "role_arn": role.arn,
            "buffering_size": 64,
            "buffering_interval": 60 + days,
            "compression_format": "GZIP",
            "prefix": "archive/!{timestamp:yyyy}/",
            "error_output_prefix": "errors/!{firehose:error-output-type}/",
            "cloudwatch_logging_options": {
                "enabled": True,
                "log_group_name": logs.name,
                "log_stream_name": stream.name,
            },
        },
        opts=by,
    )
    _instances(subnets, group, days, untagged)


def _bucket(key: aws.kms.Key, days: int, by: pulumi.ResourceOptions) -> aws.s3.Bucket:
    bucket = aws.s3.Bucket("Archive", force_destroy=True, opts=by)
    aws.s3.BucketPublicAccessBlock(
        "closed", bucket=bucket.id, block_public_acls=True, ignore_public_acls=True, opts=by
    )
    rule = {"object_ownership": "BucketOwnerEnforced"}
    aws.s3.BucketOwnershipControls("owned", bucket=bucket.id, rule=rule, opts=by)  # type: ignore[arg-type]
    aws.s3.BucketVersioning("versions", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=by)
    encryption = {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}
    aws.s3.BucketServerSideEncryptionConfiguration(
        "encrypted",
        bucket=bucket.id,
        rules=[{"apply_server_side_encryption_by_default": encryption, "bucket_key_enabled": True}],  # type: ignore[list-item]
        opts=by,
    )
    aws.s3.BucketLifecycleConfiguration(
        "ageing",
        bucket=bucket.id,
        rules=[
            {
                "id": "old",
                "status": "Enabled",
                "filter": {"prefix": "archive/"},
                "expiration": {"days": 90 + days},
                "noncurrent_version_expiration": {"noncurrent_days": 7},
                "abort_incomplete_multipart_upload": {"days_after_initiation": 2},
            },
            {
                "id": "cold",
                "status": "Enabled",
                "filter": {},
                "transitions": [{"days": 30, "storage_class": "STANDARD_IA"}],
            },
        ],
        opts=by,
    )
    secure = {"Bool": {"aws:SecureTransport": "true"}}
    aws.s3.BucketPolicy(
        "tls", bucket=bucket.id, policy=allow("s3:*", bucket.arn, Principal="*", Condition=secure), opts=by
    )
    return bucket


def _kafka(
    subnets: list[aws.ec2.Subnet],
    group: aws.ec2.SecurityGroup,
    key: aws.kms.Key,
    logs: aws.cloudwatch.LogGroup,
    days: int,
    by: pulumi.ResourceOptions,
) -> None:
    properties = f"auto.create.topics.enable=false\nlog.retention.hours={days * 24}\n"
    settings = aws.msk.Configuration("settings", kafka_versions=["3.8.x"], server_properties=properties, opts=by)
    iam = {"sasl": {"iam": True}}
    cluster = aws.msk.Cluster(
        "kafka",
        kafka_version="3.8.x",
        number_of_broker_nodes=3,
        configuration_info={"arn": settings.arn, "revision": settings.latest_revision},
        broker_node_group_info={
            "client_subnets": [subnet.id for subnet in subnets],
            "instance_type": "kafka.m5.large",
            "security_groups": [group.id],
            "storage_info": {"ebs_storage_info": {"volume_size": 100 + days}},
            "connectivity_info": {"vpc_connectivity": {"client_authentication": iam}},  # type: ignore[typeddict-item]
        },
        client_authentication=iam,  # type: ignore[arg-type]
        encryption_info={"encryption_at_rest_kms_key_arn": key.arn},
        logging_info={"broker_logs": {"cloudwatch_logs": {"enabled": True, "log_group": logs.name}}},
        opts=by,
    )
    firehose = {"Service": "firehose.amazonaws.com"}
    policy = allow("kafka:CreateVpcConnection", cluster.arn, Principal=firehose, Sid=f"days{days}")
    aws.msk.ClusterPolicy("policy", cluster_arn=cluster.arn, policy=policy, opts=by)


def _instances(
    subnets: list[aws.ec2.Subnet], group: aws.ec2.SecurityGroup, days: int, by: pulumi.ResourceOptions
) -> None:
    template = aws.ec2.LaunchTemplate(
        "template",
        image_id="ami-12c6146b",
        instance_type="t3.micro",
        metadata_options={"http_tokens": "required"},
        block_device_mappings=[{"device_name": "/dev/xvda", "ebs": {"volume_size": 10 + days, "encrypted": "true"}}],
        tag_specifications=[{"resource_type": "instance", "tags": {"Role": "worker"}}],
        vpc_security_group_ids=[group.id],
        opts=by,
    )
    aws.autoscaling.Group(
        "workers",
        min_size=1,
        max_size=3,
        desired_capacity=2,
        vpc_zone_identifiers=[subnet.id for subnet in subnets],
        launch_template={"id": template.id, "version": template.latest_version.apply(str)},
        tags=[{"key": "Role", "value": "worker", "propagate_at_launch": True}],
        opts=by,
    )


def network(cidr: str = "10.1.1.0/24", about: str = "one") -> None:
    """A network with a subnet to lose and a group with a fixed name."""
    by = pulumi.ResourceOptions(provider=provider())
    vpc = aws.ec2.Vpc("net", cidr_block="10.1.0.0/16", tags={"Name": "net"}, opts=by)
    aws.ec2.Subnet("kept", vpc_id=vpc.id, cidr_block="10.1.0.0/24", opts=by)
    aws.ec2.Subnet("lost", vpc_id=vpc.id, cidr_block=cidr, opts=by)
    aws.ec2.SecurityGroup("group", name="fixed", description=about, vpc_id=vpc.id, opts=by)


def two_instances() -> None:
    """Two provider instances with default tags of their own, code and secrets."""
    blue = pulumi.ResourceOptions(provider=provider("blue", {"Team": "blue", "Env": "test"}))
    red = pulumi.ResourceOptions(provider=provider("red", {"Team": "red"}))
    role = aws.iam.Role(
        "role",
        assume_role_policy=allow("sts:AssumeRole", "", Principal={"Service": "lambda.amazonaws.com"}),
        tags={"Env": "mine"},
        opts=blue,
    )
    aws.lambda_.Function(
        "function",
        role=role.arn,
        runtime="python3.11",
        handler="main.handler",
        code=pulumi.AssetArchive({"main.py": pulumi.StringAsset("def handler(event, _): return event\n")}),
        environment={"variables": {"PASSWORD": pulumi.Output.secret("correct-horse"), "PLAIN": "visible-text"}},
        opts=red,
    )
    aws.cloudwatch.LogGroup("logs", tags={"Owner": pulumi.Output.secret("hidden-owner")}, opts=red)


def fleet(seeds: int = 3, data_gb: int = 20, owner: str = "one") -> None:
    """The cluster's machines in a small network."""
    instance = provider("sandbox", {"Owner": owner})
    by = pulumi.ResourceOptions(provider=instance)
    vpc = aws.ec2.Vpc("net", cidr_block="10.4.0.0/16", opts=by)
    subnets = {
        zone: aws.ec2.Subnet(zone, vpc_id=vpc.id, cidr_block=f"10.4.{at}.0/24", availability_zone=zone, opts=by).id
        for at, zone in enumerate(f"{REGION}{zone}" for zone in "abc")
    }
    endpoints = aws.ec2.SecurityGroup("endpoints", vpc_id=vpc.id, opts=by)
    s3 = aws.ec2.VpcEndpoint("s3", vpc_id=vpc.id, service_name=f"com.amazonaws.{REGION}.s3", opts=by)
    key = aws.kms.Key("fleet", enable_key_rotation=True, deletion_window_in_days=7, opts=by)

    def secret(name: str) -> str:
        return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}"

    Fleet(
        "fleet",
        FleetArgs(
            settings=FleetSettings(seeds=seeds, workers_max=3, seed_data_gb=data_gb),
            cluster="trial",
            tags={"Owner": owner},
            region=REGION,
            account=ACCOUNT,
            vpc_id=vpc.id,
            subnet_ids=subnets,
            endpoint_group_id=endpoints.id,
            s3_prefix_list_id=s3.prefix_list_id,
            worker_group="trial-workers",
            key_arn=key.arn,
            administrator_arn=secret("administrator"),
            certificate_arn=secret("certificate"),
            disposable=True,
            protect=False,
        ),
        opts=pulumi.ResourceOptions(providers=[instance]),
    )


def taken(zone: str = "a") -> None:
    """Two groups of one that want the same interface, one after the other."""
    by = pulumi.ResourceOptions(provider=provider())
    vpc = aws.ec2.Vpc("net", cidr_block="10.5.0.0/16", opts=by)
    subnet = aws.ec2.Subnet(
        "subnet", vpc_id=vpc.id, cidr_block="10.5.0.0/24", availability_zone=f"{REGION}a", opts=by
    )
    interface = aws.ec2.NetworkInterface("interface", subnet_id=subnet.id, opts=by)
    template = aws.ec2.LaunchTemplate(
        "template",
        image_id="ami-12c6146b",
        instance_type="t3.micro",
        network_interfaces=[{"device_index": 0, "network_interface_id": interface.id}],
        opts=by,
    )
    before: list[pulumi.Resource] = []
    for name in ("owner", "late"):
        before = [
            aws.autoscaling.Group(
                name,
                min_size=1,
                max_size=1,
                availability_zones=[f"{REGION}{zone}"],
                launch_template={"id": template.id, "version": "$Latest"},
                opts=pulumi.ResourceOptions(provider=by.provider, depends_on=before),
            )
        ]


def leaving(heartbeat: int = 300, keep: str = "retain", cpu: int = 60, count: int = 7, desired: int = 1) -> None:
    """Workers that leave through a hook, with what scales them and what saves their disks."""
    by = pulumi.ResourceOptions(provider=provider("sandbox", {"Owner": "one"}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.6.0.0/16", opts=by)
    subnet = aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.6.0.0/24", opts=by)
    template = aws.ec2.LaunchTemplate("template", image_id="ami-12c6146b", instance_type="t3.micro", opts=by)
    terminating = "autoscaling:EC2_INSTANCE_TERMINATING"
    group = aws.autoscaling.Group(
        "workers",
        min_size=0,
        max_size=2,
        desired_capacity=desired,
        vpc_zone_identifiers=[subnet.id],
        launch_template={"id": template.id, "version": "$Latest"},
        initial_lifecycle_hooks=[
            {"name": "drain", "lifecycle_transition": terminating, "heartbeat_timeout": 300},
        ],
        instance_lifecycle_policy={"retention_triggers": {"terminate_hook_abandon": keep}},
        enabled_metrics=[aws.autoscaling.Metric(f"Group{what}Instances") for what in ("InService", "Terminating")],
        default_cooldown=60,
        force_delete=True,
        opts=by,
    )
    aws.autoscaling.LifecycleHook(
        "drain",
        autoscaling_group_name=group.name,
        default_result="ABANDON",
        notification_metadata="about",
        name="drain",
        lifecycle_transition=terminating,
        heartbeat_timeout=heartbeat,
        opts=by,
    )
    aws.autoscaling.Policy(
        "cpu",
        autoscaling_group_name=group.name,
        policy_type="TargetTrackingScaling",
        target_tracking_configuration={
            "target_value": cpu,
            "predefined_metric_specification": {"predefined_metric_type": "ASGAverageCPUUtilization"},
        },
        opts=by,
    )
    role = aws.iam.Role(
        "snapshots",
        assume_role_policy=allow("sts:AssumeRole", "", Principal={"Service": "dlm.amazonaws.com"}),
        opts=by,
    )
    aws.dlm.LifecyclePolicy(
        "snapshots",
        description="disks of the seeds",
        execution_role_arn=role.arn,
        policy_details={
            "resource_types": ["VOLUME"],
            "target_tags": {"role": "seed-data"},
            "schedules": [
                {
                    "name": "daily",
                    "copy_tags": True,
                    "create_rule": {"interval": 24, "times": "03:00"},
                    "retain_rule": {"count": count},
                    "tags_to_add": {"by": "schedule"},
                }
            ],
        },
        opts=by,
    )


def workers(timeout: str) -> None:
    """A group that waits for its capacity."""
    by = pulumi.ResourceOptions(provider=provider())
    vpc = aws.ec2.Vpc("net", cidr_block="10.3.0.0/16", opts=by)
    subnet = aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.3.0.0/24", opts=by)
    template = aws.ec2.LaunchTemplate("template", image_id="ami-12c6146b", instance_type="t3.micro", opts=by)
    aws.autoscaling.Group(
        "workers",
        name="workers",
        min_size=1,
        max_size=1,
        vpc_zone_identifiers=[subnet.id],
        launch_template={"id": template.id, "version": "$Latest"},
        wait_for_capacity_timeout=timeout,
        opts=by,
    )


def files(status: str = "ENABLED", days: int = 30, user: int = 1000, owner: str = "one") -> None:
    """A file system with everything around it."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.5.0.0/16", opts=by)
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, opts=by)
    key = aws.kms.Key("key", deletion_window_in_days=7, opts=by)
    system = aws.efs.FileSystem(
        "files",
        encrypted=True,
        kms_key_id=key.arn,
        throughput_mode="elastic",
        lifecycle_policies=[{"transition_to_ia": f"AFTER_{days}_DAYS"}, {"transition_to_archive": "AFTER_90_DAYS"}],
        tags={"Name": f"files-{days}"},
        opts=by,
    )
    secure = {"Bool": {"aws:SecureTransport": "true"}}
    policy = allow("elasticfilesystem:ClientMount", system.arn, Principal="*", Condition=secure, Sid=owner)
    aws.efs.FileSystemPolicy("policy", file_system_id=system.id, policy=policy, opts=by)
    aws.efs.BackupPolicy("backup", file_system_id=system.id, backup_policy={"status": status}, opts=by)
    aws.efs.AccessPoint(
        "access",
        file_system_id=system.id,
        posix_user={"uid": user, "gid": user},
        root_directory={
            "path": "/fleet",
            "creation_info": {"owner_uid": user, "owner_gid": user, "permissions": "0750"},
        },
        opts=by,
    )
    for at, zone in enumerate("abc"):
        subnet = aws.ec2.Subnet(
            f"subnet-{zone}",
            vpc_id=vpc.id,
            cidr_block=f"10.5.{at}.0/24",
            availability_zone=f"{REGION}{zone}",
            opts=by,
        )
        aws.efs.MountTarget(
            f"target-{zone}", file_system_id=system.id, subnet_id=subnet.id, security_groups=[group.id], opts=by
        )


def share(
    directory: str,
    storage: int = 32,
    throughput: int = 32,
    days: int = 7,
    server: str = "one",
    backup: bool = False,
    zones: str = "ab",
    owner: str = "one",
) -> None:
    """A Windows share in a directory that exists already."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.7.0.0/16", opts=by)
    groups = {name: aws.ec2.SecurityGroup(f"group-{name}", vpc_id=vpc.id, opts=by) for name in ("one", "two")}
    subnets = [
        aws.ec2.Subnet(
            f"subnet-{zone}",
            vpc_id=vpc.id,
            cidr_block=f"10.7.{at}.0/24",
            availability_zone=f"{REGION}{zone}",
            opts=by,
        )
        for at, zone in enumerate(zones)
    ]
    aws.fsx.WindowsFileSystem(
        "share",
        active_directory_id=directory,
        deployment_type="MULTI_AZ_1",
        subnet_ids=[subnet.id for subnet in subnets],
        preferred_subnet_id=subnets[0].id,
        security_group_ids=[groups[server].id],
        storage_capacity=storage,
        throughput_capacity=throughput,
        kms_key_id=aws.kms.Key("key", deletion_window_in_days=7, opts=by).arn,
        automatic_backup_retention_days=days,
        skip_final_backup=not backup,
        tags={"Name": "share"},
        opts=by,
    )


def balancers(
    groups: int = 1,
    zones: str = "ab",
    clients: Mapping[str, str] | None = None,
    size: int = 2,
    port: int = 443,
    interval: int = 10,
    owner: str = "one",
) -> None:
    """A network load balancer that faces the internet, and a prefix list in its group's rule."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.6.0.0/16", opts=by)
    gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=by)
    subnets = [
        aws.ec2.Subnet(
            f"subnet-{zone}",
            vpc_id=vpc.id,
            cidr_block=f"10.6.{at}.0/24",
            availability_zone=f"{REGION}{zone}",
            opts=by,
        )
        for at, zone in enumerate("abc")
    ]
    made = [aws.ec2.SecurityGroup(f"group-{at}", vpc_id=vpc.id, opts=by) for at in range(2)]
    clients = clients or {"10.0.0.0/16": "one", "10.1.0.0/16": "two"}
    admitted = aws.ec2.ManagedPrefixList(
        "clients",
        address_family="IPv4",
        max_entries=size,
        entries=[{"cidr": cidr, "description": about} for cidr, about in clients.items()],
        opts=by,
    )
    aws.vpc.SecurityGroupIngressRule(
        "rule",
        security_group_id=made[0].id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        prefix_list_id=admitted.id,
        opts=by,
    )
    balancer = aws.lb.LoadBalancer(
        "balancer",
        load_balancer_type="network",
        subnets=[subnet.id for subnet, zone in zip(subnets, "abc", strict=True) if zone in zones],
        security_groups=[group.id for group in made[:groups]],
        enable_cross_zone_load_balancing=owner == "two",
        opts=pulumi.ResourceOptions(provider=by.provider, depends_on=[gateway]),
    )
    targets = aws.lb.TargetGroup(
        "targets",
        vpc_id=vpc.id,
        port=8000 + port,
        protocol="TCP",
        preserve_client_ip="false",
        deregistration_delay=60 + interval,
        health_check={"protocol": "TCP", "interval": interval},
        opts=by,
    )
    aws.lb.Listener(
        "listener",
        load_balancer_arn=balancer.arn,
        port=port,
        protocol="TCP",
        default_actions=[{"type": "forward", "target_group_arn": targets.arn}],
        opts=by,
    )


def alarms(threshold: int = 5, owner: str = "one", address: str = "one@example.com") -> None:
    """A topic that tells people, alarms on a metric and on a query, and a dashboard."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Owner": owner}))
    key = aws.kms.Key("key", deletion_window_in_days=7, opts=by)
    topic = aws.sns.Topic("topic", display_name=owner, kms_master_key_id=key.arn, opts=by)
    publish = allow("SNS:Publish", topic.arn, Principal={"Service": "cloudwatch.amazonaws.com"}, Sid=owner)
    aws.sns.TopicPolicy("policy", arn=topic.arn, policy=publish, opts=by)
    aws.sns.TopicSubscription("mail", topic=topic.arn, protocol="email", endpoint=address, opts=by)
    dead = aws.sqs.Queue("dead", opts=by)
    aws.sns.TopicSubscription(
        "queue", topic=topic.arn, protocol="sqs", endpoint=dead.arn, raw_message_delivery=threshold > 5, opts=by
    )
    aws.cloudwatch.MetricAlarm(
        "simple",
        namespace="AWS/SQS",
        metric_name="ApproximateNumberOfMessagesVisible",
        dimensions={"QueueName": dead.name},
        statistic="Maximum",
        period=60,
        evaluation_periods=3,
        comparison_operator="GreaterThanThreshold",
        threshold=threshold,
        treat_missing_data="notBreaching",
        alarm_description=owner,
        alarm_actions=[topic.arn],
        ok_actions=[topic.arn],
        opts=by,
    )
    select = 'SELECT MAX("CpuUser") FROM SCHEMA("AWS/Kafka", "Cluster Name", "Broker ID")'
    aws.cloudwatch.MetricAlarm(
        "query",
        metric_queries=[
            {"id": "m1", "expression": select, "period": 60, "return_data": False},
            {"id": "total", "expression": "m1 * 2", "period": 60, "label": owner, "return_data": True},
        ],
        evaluation_periods=3,
        comparison_operator="LessThanThreshold",
        threshold=threshold,
        opts=by,
    )
    widget = {"type": "text", "x": 0, "y": 0, "width": 6, "height": 3, "properties": {"markdown": owner}}
    body = json.dumps({"widgets": [widget]})
    aws.cloudwatch.Dashboard("board", dashboard_name="board", dashboard_body=body, opts=by)


def ways_in(hole: int | None = None) -> None:
    """The platform's own network and balancers, judged by its guardrails; `hole` opens one more port to the world."""
    from infra import guardrails, ingress, network, sections  # only this program is the platform's

    rails = guardrails.Guardrails((), date(2026, 1, 31))
    rails.install()
    by = pulumi.ResourceOptions(providers=[provider()])
    cidr, zones = "10.7.0.0/16", [f"{REGION}{zone}" for zone in "abc"]
    made = network.Network(
        "network",
        network.NetworkArgs(
            region=REGION,
            account=ACCOUNT,
            cidr=cidr,
            zones=zones,
            nat="none",
            interface_endpoints=(),
            log_retention_days=1,
        ),
        opts=by,
    )
    entrances = ingress.Ingress(
        "ingress",
        ingress.IngressArgs(
            settings=sections.Ingress(),
            vpc_id=made.vpc_id,
            vpc_cidr=cidr,
            public_subnet_ids=made.public_subnet_ids,
            private_subnet_ids=made.private_subnet_ids,
            after=[made],
            protect=False,
        ),
        opts=by,
    )
    if hole is not None:
        aws.vpc.SecurityGroupIngressRule(
            "hole",
            security_group_id=entrances.traffic_group_id,
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="tcp",
            from_port=hole,
            to_port=hole,
            opts=pulumi.ResourceOptions(provider=by.providers[0] if isinstance(by.providers, list) else None),
        )
    rails.close()


def unknown_type() -> None:
    """A type that is not emulated."""
    aws.dynamodb.Table("table", hash_key="id", opts=pulumi.ResourceOptions(provider=provider()))


def unknown_property() -> None:
    """A nested property that is not emulated."""
    filter_ = {"and": {"prefix": "a"}}
    aws.s3.BucketLifecycleConfiguration(
        "ageing",
        bucket="b",
        rules=[{"id": "a", "status": "Enabled", "filter": filter_}],  # type: ignore[list-item]
        opts=pulumi.ResourceOptions(provider=provider()),
    )


def unknown_data() -> None:
    """A data source that is not emulated."""
    aws.ssm.get_parameter(name="/x", opts=pulumi.InvokeOptions(provider=provider()))


def another_account() -> None:
    """A provider for another account."""
    aws.Provider("other", region=REGION, allowed_account_ids=["999999999999"])


def imported(importing: bool, delay: int, vpc: str, table: str, gateway: str, url: str) -> None:
    """What exists already, taken over or owned."""
    instance = provider()

    def by(identifier: str) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(provider=instance, import_=identifier if importing else None)

    aws.ec2.Vpc("net", cidr_block="10.2.0.0/16", opts=by(vpc))
    aws.ec2.RouteTable("table", vpc_id=vpc, opts=by(table))
    aws.ec2.InternetGateway("gateway", vpc_id=vpc, opts=by(gateway))
    out = {"destination_cidr_block": "0.0.0.0/0", "gateway_id": gateway}
    aws.ec2.Route("route", route_table_id=table, **out, opts=by(f"{table}_0.0.0.0/0"))
    aws.sqs.Queue("queue", name="existing", delay_seconds=delay, opts=by(url))


def budget(amount: str = "100", percent: int = 80, email: str = "ann@example.com", owner: str = "one") -> None:
    """A monthly budget of one environment with two notifications."""
    aws.budgets.Budget(
        "month",
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=amount,
        limit_unit="USD",
        cost_filters=[{"name": "TagKeyValue", "values": ["user:environment$ann"]}],
        notifications=[
            {
                "comparison_operator": "GREATER_THAN",
                "notification_type": kind,
                "threshold": threshold,
                "threshold_type": "PERCENTAGE",
                "subscriber_email_addresses": [email],
            }
            for kind, threshold in (("ACTUAL", percent), ("FORECASTED", 100))
        ],
        opts=pulumi.ResourceOptions(provider=provider(tags={"Owner": owner})),
    )


def data(queue: str = "one", log: bool = True, keys: int = 1) -> None:
    """What keeps data: a queue whose name replaces it, a log group that can be left out, keys that cost something."""
    by = pulumi.ResourceOptions(provider=provider())
    aws.sqs.Queue("queue", name=queue, opts=by)
    if log:
        aws.cloudwatch.LogGroup("log", retention_in_days=7, opts=by)
    for number in range(keys):
        aws.kms.Key(f"key-{number}", opts=by)
    pulumi.log.info("guardrails: all of them", ephemeral=True)
