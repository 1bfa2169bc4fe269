"""An environment's budget: its limit, by which costs it counts, and who hears of it."""

import json
from datetime import date
from typing import Any

import pytest
from declared import Declared, run_mocked, stack_config

from infra import __main__ as program
from infra import environment
from infra.budget import Budget, BudgetArgs
from infra.settings import KEY, SettingsError, load


def chosen(**operations: Any) -> dict[str, str]:
    config = stack_config("dev")
    settings = json.loads(config[KEY])
    settings["operations"] |= operations
    return {**config, KEY: json.dumps(settings)}


def declared() -> list[Declared]:
    def body() -> None:
        Budget("budget", BudgetArgs(monthly_usd=300, email="ann@example.com", environment="ann"))

    return run_mocked(body).declared


def test_it_counts_the_costs_of_its_environment_only() -> None:
    (budget,) = declared()
    assert budget.type == "aws:budgets/budget:Budget"
    assert (budget.properties["budgetType"], budget.properties["timeUnit"]) == ("COST", "MONTHLY")
    assert (budget.properties["limitAmount"], budget.properties["limitUnit"]) == ("300", "USD")
    assert budget.properties["costFilters"] == [{"name": "TagKeyValue", "values": ["user:environment$ann"]}]


def test_its_owner_hears_of_what_is_spent_and_of_what_will_be() -> None:
    (budget,) = declared()
    warnings = budget.properties["notifications"]
    assert {each["notificationType"]: each["threshold"] for each in warnings} == {"ACTUAL": 80, "FORECASTED": 100}
    assert all(each["subscriberEmailAddresses"] == ["ann@example.com"] for each in warnings)
    assert all(each["thresholdType"] == "PERCENTAGE" for each in warnings)


@pytest.mark.parametrize("usd", [None, 300])
def test_the_program_has_one_when_the_settings_have(usd: int | None) -> None:
    config = chosen(**({} if usd is None else {"monthly_budget_usd": usd, "budget_email": "ann@example.com"}))
    recorder = run_mocked(lambda: _declare(config))
    assert [each.name for each in recorder.declared if "budget" in each.type] == (["budget-monthly"] if usd else [])


def _declare(config: dict[str, str]) -> None:
    program.declare(environment.enter(*load(config)))


def test_the_last_day_is_a_tag() -> None:
    settings, _ = load(chosen(expires="2026-12-31"))
    assert settings.operations.expires == date(2026, 12, 31)
    assert environment.tags("ann", settings)["expires"] == "2026-12-31"
    assert "expires" not in environment.tags("dev", load(stack_config("dev"))[0])


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ({"expires": "soon"}, "operations.expires: input should be a valid date"),
        ({"budget_email": "nobody"}, "operations.budget_email: 'nobody' is no e-mail address"),
        ({"budget_email": f"{'a' * 50}@b.c"}, "up to 50 characters"),
        ({"monthly_budget_usd": 300}, "operations.monthly_budget_usd: nobody would hear of it"),
        ({"monthly_budget_usd": 300, "budget_email": "nobody"}, "operations.budget_email"),
        ({"monthly_budget_usd": 0, "budget_email": "a@b.c"}, "what a month may cost in USD"),
    ],
)
def test_a_mistake_names_its_place_and_the_remedy(operations: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(chosen(**operations))
    (problem,) = caught.value.problems
    assert told in problem
