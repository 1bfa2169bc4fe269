"""Seed launch as a function: gives a seed's machine its data disk before its hook is completed."""

from typing import Any

import boto3

from services.fabric.launch_function import LaunchFunction, required
from services.fabric.seed_launch.aws import EbsDisks
from services.fabric.seed_launch.core import look

function = LaunchFunction("seed-launch")


@function.metrics.log_metrics
def handle(event: dict[str, Any], context: Any) -> dict[str, str]:
    """A launch event of a seed's group."""
    disks = EbsDisks(boto3.client("ec2"), required("FLEETSTREAM_CLUSTER"), required("FLEETSTREAM_KEY_ARN"))
    return function.serve(event, context, lambda instance: look(disks, instance))
