"""A budget for one environment: AWS writes to its owner before a month gets too dear, it stops nothing."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

_SPENT_PERCENT: Final = 80
_FORECAST_PERCENT: Final = 100


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """The month's limit, who is told, and the value of the tag ``environment`` by which costs are told apart."""

    monthly_usd: int
    email: str
    environment: str


class Budget(pulumi.ComponentResource):
    """A monthly cost budget with two warnings: most of it is spent, or it will not last by AWS's forecast."""

    budget_name: pulumi.Output[str]

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:budget:Budget", name, None, opts)
        budget = aws.budgets.Budget(
            f"{name}-monthly",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args.monthly_usd),
            limit_unit="USD",
            # Cost Management User Guide, "Budget filters": key and value of a tag. It filters once the tag is
            # activated as a cost allocation tag in the account that pays.
            cost_filters=[
                aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:environment${args.environment}"])
            ],
            notifications=[
                aws.budgets.BudgetNotificationArgs(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                    subscriber_email_addresses=[args.email],
                )
                for kind, percent in (("ACTUAL", _SPENT_PERCENT), ("FORECASTED", _FORECAST_PERCENT))
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.budget_name = budget.name
        self.register_outputs({"budget_name": self.budget_name})
