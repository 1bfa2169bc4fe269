"""Where a program deploys to: its stack, account and region, the one provider, and the tags on everything."""

from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.settings import Settings

PROJECT: Final = "fleetstream"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What all components need to know about the place they are made in."""

    stack: str
    region: str
    account: pulumi.Output[str]
    settings: Settings
    provider: aws.Provider

    @property
    def options(self) -> pulumi.ResourceOptions:
        """For components: their children inherit the provider from them."""
        return pulumi.ResourceOptions(providers=[self.provider])

    def name(self, role: str) -> str:
        """A fixed name, for the few things that must be known by name before they exist (docs/adr/0003-names.md)."""
        return f"{PROJECT}-{self.stack}-{role}"


def tags(stack: str, settings: Settings) -> dict[str, str]:
    """On every resource that takes tags, through the provider."""
    last_day = settings.operations.expires
    expires = {} if last_day is None else {"expires": last_day.isoformat()}
    return {"project": PROJECT, "environment": stack, "owner": settings.owner, "managed-by": "pulumi", **expires}


def enter(settings: Settings, region: str) -> Environment:
    """Makes the provider for the stack's account and region, and asks it who is signed in."""
    stack = pulumi.get_stack()
    accounts: dict[str, Any] = {} if settings.account is None else {"allowed_account_ids": [settings.account]}
    provider = aws.Provider(
        "aws",
        region=region,
        default_tags=aws.ProviderDefaultTagsArgs(tags=tags(stack, settings)),
        **accounts,
    )
    caller = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(provider=provider))
    return Environment(
        stack=stack,
        region=region,
        account=caller.account_id,
        settings=settings,
        provider=provider,
    )
