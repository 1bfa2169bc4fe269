"""What Auto Scaling refuses of a group, and what its emulation does.

Sources: Auto Scaling API Reference, error messages as clients of it report them.
"""

from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.ec2.exceptions import EC2ClientError

from envs.sandbox.aws import ec2_launch


def not_emulated(what: str) -> AutoscalingClientError:
    """The refusal of something that AWS would do and nothing here does."""
    return AutoscalingClientError("NotImplemented", f"the emulated Auto Scaling does not implement {what}")


def check_capacity(least: int | None, most: int | None, desired: int | None) -> None:
    """Refuses bounds that exclude each other, and a capacity outside of them."""
    low, high = least or 0, most or 0
    if low > high:
        raise ValidationError(f"Max bound, {high}, must be greater than or equal to min bound, {low}")
    if desired is not None and not low <= desired <= high:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{low} and max size:{high}"
        )


def check_desired(least: int | None, most: int | None, desired: int) -> None:
    """The same, as SetDesiredCapacity tells it."""
    low, high = least or 0, most or 0
    if not low <= desired <= high:
        side, bound = ("above max", high) if desired > high else ("below min", low)
        raise ValidationError(
            f"New SetDesiredCapacity value {desired} is {side} value {bound} for the AutoScalingGroup."
        )


def check_template(ec2: Any, named: dict[str, Any] | None) -> None:
    """A group is refused for what EC2 would refuse of a trial launch."""
    if not named:
        return
    data = ec2_launch.template_data(ec2, {"launch_template": named})
    try:
        ec2_launch.resolve_image(ec2, data.get("ImageId") or "")
        ec2_launch.check_template(data)
        ec2_launch.profile(ec2, data)
    except EC2ClientError as error:
        raise ValidationError(
            f"You must use a valid fully-formed launch template. {error.message} (Service: AmazonEC2; "
            f"Error Code: {error.code})"
        ) from error
