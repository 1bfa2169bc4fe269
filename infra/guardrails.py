"""Guardrails: every resource of the program is judged by the security rules before it is made.

How it works with Pulumi's engine:

* A resource transform sees the properties of each resource just before it is registered. What breaks a rule is
  reported as an error; the preview goes on to find the rest and fails at its end (an error that is merely logged
  does not change the exit code).
* What a preview cannot know yet is judged by the same transform when the deployment has got there: the resource is
  then given a hook that fails its creation, so that it is never made (Pulumi documentation, "Resource hooks").
* What must stand beside a resource (a bucket's policy, say) is judged when the program has declared everything.
* What a rule may open to the world depends on the load balancer around it (`infra.entrances`). Pulumi runs transforms
  after the program's body, so that the balancer is known by then; one that is not known opens nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import pulumi

from infra import entrances, rules
from infra.checks import UNKNOWN, Finding
from infra.errors import InfraError
from infra.waivers import Waiver


class GuardrailError(InfraError):
    """Why a resource is refused."""


class Guardrails:
    """The rules at work in one run of a program: `install` first, declare resources, then `close`."""

    def __init__(self, waivers: Sequence[Waiver], today: date) -> None:
        self._waivers = waivers
        self._today = today
        self._declared: list[entrances.Declared] = []
        self._judged: Counter[tuple[str, str]] = Counter()
        self._violations: dict[tuple[str, str], list[str]] = {}
        self._closed = False
        self._complete = asyncio.Event()
        self._refusal: list[pulumi.ResourceHook | pulumi.ResourceHookFunction] = []

    @property
    def violations(self) -> list[str]:
        """All that was found so far, as reported."""
        return [text for texts in self._violations.values() for text in texts]

    def install(self) -> None:
        """From here on every resource of the program is judged."""
        self._refusal = [pulumi.ResourceHook("guardrails", self._fail)]
        pulumi.runtime.register_resource_transform(self._transform)
        # The engine runs transforms later, and without the links between resources: these are seen here.
        pulumi.runtime.register_stack_transformation(self._declare)

    def close(self) -> None:
        """Everything is declared: judges what must stand beside what, and fails the program if anything is wrong."""
        self._closed = True
        self._settle()
        # The program does not end before its outputs are known; this one is the verdict.
        pulumi.Output.from_input(self._verdict())

    def judge(
        self, type_: str, name: str, properties: Mapping[str, Any], public_ports: Collection[int] = ()
    ) -> list[str]:
        """Reports every rule that a resource breaks and that is not waived; returns what it reported."""
        return [
            text
            for rule, finding in rules.judge(type_, properties, public_ports)
            if (text := self._report(rule, type_, name, finding)) is not None
        ]

    def public_ports(self, type_: str, name: str) -> frozenset[int]:
        """The ports that a security group rule may open to the world; of two with one name, those that both may."""
        found = [
            entrances.public_ports(properties, self._declared)
            for declared_type, declared_name, _, properties in self._declared
            if (declared_type, declared_name) == (type_, name) and type_ == rules.INGRESS_RULE
        ]
        return frozenset.intersection(*found) if found else frozenset()

    async def _transform(self, args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        properties = await plain(args.props)
        found = self.judge(args.type_, args.name, properties, self.public_ports(args.type_, args.name))
        self._judged[args.type_, args.name] += 1
        self._settle()
        if not found or pulumi.runtime.is_dry_run():
            return None
        hook = pulumi.ResourceOptions(
            hooks=pulumi.ResourceHookBinding(before_create=self._refusal, before_update=self._refusal)
        )
        return pulumi.ResourceTransformResult(args.props, pulumi.ResourceOptions.merge(args.opts, hook))

    def _fail(self, args: pulumi.ResourceHookArgs) -> None:
        raise GuardrailError("; ".join(self._violations.get((args.type, args.name), ["refused by a guardrail"])))

    def _declare(self, args: pulumi.ResourceTransformationArgs) -> None:
        self._declared.append((args.type_, args.name, args.resource, args.props))

    def _settle(self) -> None:
        declared = Counter((type_, name) for type_, name, _, _ in self._declared)
        if self._closed and declared <= self._judged:
            self._complete.set()

    async def _verdict(self) -> None:
        await self._judge_companions()
        await self._complete.wait()
        if count := len(self.violations):
            raise pulumi.RunError(
                f"{count} guardrail violation{'s'[: count > 1]}, listed above: correct them, or add a waiver with a "
                "reason and a last day to infra/waivers.yaml"
            )
        # Read by the preview of envs/, and by whoever watches; not worth a line in every log.
        pulumi.log.info(f"guardrails: all {len(rules.NAMES)} rules kept", ephemeral=True)

    async def _judge_companions(self) -> None:
        for rule in rules.RULES:
            if rule.needs is None:
                continue
            guarded: set[pulumi.Resource] = set()
            for type_, _, _, properties in self._declared:
                if type_ == rule.companion:
                    link = entrances.given(properties, rule.companion_property)
                    guarded |= await link.resources() if isinstance(link, pulumi.Output) else set()
            for type_, name, resource, _ in self._declared:
                if type_ == rule.needs and resource not in guarded:
                    kind = str(rule.companion).rpartition(":")[2]
                    self._report(rule.name, type_, name, Finding(kind, "stands alone", rule.remedy))

    def _report(self, rule: str, type_: str, name: str, finding: Finding) -> str | None:
        text = f"{name} ({type_}): {rule}: {finding.property} {finding.fault}: {finding.remedy}"
        for waiver in self._waivers:
            if waiver.covers(rule, name):
                if waiver.expires >= self._today:
                    pulumi.log.info(f"waived until {waiver.expires} ({waiver.reason}): {text}")
                    return None
                text += f" (its waiver expired on {waiver.expires})"
        self._violations.setdefault((type_, name), []).append(text)
        pulumi.log.error(text)
        return text


async def plain(value: Any) -> Any:
    """A value without Pulumi's wrapping: secrets open, assets as they are, `UNKNOWN` for what is not known yet."""
    if isinstance(value, pulumi.Output):
        if not await value.is_known():
            return UNKNOWN
        return await plain(await value.future())
    if isinstance(value, Mapping):
        return {key: await plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [await plain(item) for item in value]
    return value
