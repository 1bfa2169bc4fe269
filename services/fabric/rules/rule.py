"""What a rule is, and what breaking one looks like."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

_MANAGEMENT: Final = "Microsoft.ServiceFabric.ClusterManagementCommon/"
_DEPLOYMENT: Final = "Microsoft.ServiceFabric.DeploymentManager/"

MODEL: Final = f"{_DEPLOYMENT}Model/StandAloneInstallerJSONModelBase.cs"
NODE: Final = f"{_DEPLOYMENT}Model/NodeDescriptionGA.cs"
PROPERTIES: Final = f"{_DEPLOYMENT}Model/PropertyBase.cs"
NODE_TYPES: Final = f"{_DEPLOYMENT}Model/PropertyOctober2017.cs"
STANDALONE: Final = f"{_DEPLOYMENT}Common/StandaloneSettingsValidator.cs"
VALIDATOR: Final = f"{_MANAGEMENT}SettingsValidator.cs"
STORE: Final = f"{_MANAGEMENT}EncryptableDiagnosticStoreInformation.cs"

Found = Iterator[tuple[str, str]]
"""Where a rule is broken, and by what: a path within the configuration, and words."""


@dataclass(frozen=True)
class Broken:
    """A broken rule: its name, where, what is wrong there, and the file of the product that says so."""

    rule: str
    path: str
    message: str
    source: str


@dataclass(frozen=True)
class Rule:
    """One rule of the product, and where it stands."""

    name: str
    source: str
    find: Callable[..., Found]

    def judge(self, *configurations: Any) -> list[Broken]:
        """Every place where it is broken."""
        return [Broken(self.name, path, message, self.source) for path, message in self.find(*configurations)]


class Book:
    """Collects a module's rules in the order they are written in."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def rule(self, name: str, source: str) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
        """Marks a function as the rule of that name."""

        def add(find: Callable[..., Found]) -> Callable[..., Found]:
            self.rules.append(Rule(name, source, find))
            return find

        return add
