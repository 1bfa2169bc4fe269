"""Second address as a function: attaches a machine's second interface before its hook is completed."""

from typing import Any

import boto3

from services.fabric.launch_function import LaunchFunction
from services.fabric.second_address.aws import Ec2Interfaces
from services.fabric.second_address.core import look

function = LaunchFunction("second-address")


@function.metrics.log_metrics
def handle(event: dict[str, Any], context: Any) -> dict[str, str]:
    """A launch event of a group whose machines may have a second address."""
    interfaces = Ec2Interfaces(boto3.client("ec2"))
    return function.serve(event, context, lambda instance: look(interfaces, instance))
