"""Load alone, against an environment's brokers: from here, or from the hosts of its simulator group."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field
from rich.table import Table

from envs import lifecycle, measurement, runs
from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.load_request import LoadRequest
from envs.progress import console, step
from envs.simulator_hosts import Hosts
from envs.summary import REQUIRED_MAX_MS, REQUIRED_P99_MS
from services import accounting, contract
from services.accounting import Accounting
from services.consumer.measure import ConsumeSpec
from services.errors import ServiceError
from services.kafka import bootstrap_servers, end_offsets
from services.simulator.hosts import MOST, Merged, merge, plan
from services.simulator.load import Load, LoadSpec
from services.simulator.profile import Profile
from services.simulator.result import LoadProgress
from services.simulator.source import GeneratedSource, ReplaySource
from services.simulator.traffic import Order, Traffic

INTERRUPTED: Final = 130
_KEPT_UP: Final = 0.99
"""The share of the asked rate that was sent when a load kept up: it ends within a hundredth of its time."""


_TOGETHER_MS: Final = 100.0
"""Hosts that begin within so many milliseconds begin together: some ticks, and what chrony lets clocks differ."""


class Request(LoadRequest):
    """What the user asked for. Without `hosts` the load runs here; `profile` takes the place of the rate, `size` is
    in bytes and for generated messages only; `order` to `disordered` are a `Traffic`.
    """

    profile: str | None = None
    size: int | None = Field(default=None, ge=100, le=65_536)
    order: Order = "turn"
    skew: float = Field(default=0.0, ge=0, le=4)
    churn: float = Field(default=0.0, ge=0, le=1)
    late: float = Field(default=0.0, ge=0, le=1)
    disordered: float = Field(default=0.0, ge=0, le=1)
    hosts: int | None = Field(default=None, ge=1, le=MOST)
    keep_hosts: bool = False

    def source(self) -> ReplaySource | GeneratedSource:
        """Where the messages come from. Raises `UsageError`."""
        source = super().source()
        if self.size is None:
            return source
        if isinstance(source, ReplaySource):
            raise UsageError(
                "--size: recorded messages have a size of their own; leave it out, or leave --replay out"
            )
        return source.model_copy(update={"size": self.size})

    def pace(self) -> dict[str, Any]:
        """The load's rate, profile, speed and length. Raises `UsageError` for a profile that says nothing."""
        if self.profile is None:
            rate = None if self.speed else self.rate
            return {"rate": rate, "speed": self.speed or 1.0, "seconds": self.seconds}
        if self.speed is not None:
            raise UsageError("--speed: the pace is either the recorded one or that of --profile; leave one out")
        try:
            profile = Profile.parse(self.profile, self.seconds)
        except ServiceError as error:
            raise UsageError(f"--profile: {error}") from error
        return {"profile": profile, "seconds": profile.length}

    def traffic(self) -> Traffic:
        """Who sends when. Raises `UsageError` for what the order would pass over."""
        for name in ("skew", "churn"):
            if getattr(self, name) and self.order != "random":
                raise UsageError(f"--{name}: only with --order random; with --order {self.order} it changes nothing")
        named = ("order", "skew", "churn", "late", "disordered", "seed")
        return Traffic(**{name: getattr(self, name) for name in named})


def run(environment: Environment, asked: Request, json_path: Path | None = None) -> int:
    """Sends the load and tells what became of it. Returns the exit code."""
    source, pace, traffic = asked.source(), asked.pace(), asked.traffic()
    lifecycle.require(environment)
    environment.enter()
    outputs = environment.engine().outputs()
    session = environment.session()
    try:
        telemetry, canary = measurement.topics(outputs)
        spec = LoadSpec(
            connection=measurement.connection(
                bootstrap_servers(outputs["kafka_cluster_arn"], session), outputs["region"]
            ),
            topic=telemetry,
            warmup_topic=canary,
            run_id=f"r{datetime.now(UTC):%H%M%S}{secrets.token_hex(2)}",
            source=source,
            **pace,
            traffic=traffic,
            processes=asked.processes,
            warmup_seconds=asked.warm_up,
        )
        if asked.hosts is None:
            report, interrupted = _here(environment, spec)
        else:
            report, interrupted = _on_hosts(session, outputs, spec, asked.hosts, asked.keep_hosts)
    except ServiceError as error:
        raise FleetstreamError(str(error)) from error
    except (ClientError, BotoCoreError) as error:
        raise FleetstreamError(f"{environment.name}: {error}") from error
    code = conclude(report)
    report = {"environment": environment.name, **report}
    _show(report)
    if json_path is not None:
        lifecycle.write_json(json_path, report)
    return INTERRUPTED if interrupted else code


def _here(environment: Environment, spec: LoadSpec) -> tuple[dict[str, Any], bool]:
    spec = spec.model_copy(update={"partitions": len(end_offsets(spec.connection.settings(), spec.topic))})
    load = Load(spec, runs.create() / "load")
    with step(f"load, {load.rate:g} messages/s for {spec.seconds:g} s") as current:
        result = load.run(_shown(current.update), environment.brokers_on_time())
        current.detail = f"{result.acked:,} of {result.attempted:,} acknowledged"
    account = accounting.by_ids(
        attempted={name: one.attempted for name, one in result.by_producer.items()},
        acked=result.ids("acked"),
        rejected=result.ids("rejected"),
        unknown=result.ids("unknown"),
    )
    ended = [f"{name}: {one.ended}" for name, one in result.by_producer.items() if one.ended not in _WELL]
    report = _report(spec.run_id, account, load.rate, result.produced_rate, result.late_max_us)
    report["complete"] = result.complete
    report["problems"] += [*ended, *result.troubles]
    return report, result.interrupted


def _on_hosts(
    session: Any, outputs: dict[str, Any], spec: LoadSpec, count: int, keep: bool
) -> tuple[dict[str, Any], bool]:
    """Raises the group, has every host do its part at once, merges what they report, and lowers the group again."""
    hosts = Hosts(session, outputs.get("simulators"), spec.run_id)
    hosts.check(count)
    measure = ConsumeSpec(
        connection=spec.connection,
        topic=spec.topic,
        warmup_topic=spec.warmup_topic,
        group=f"{contract.RUN_GROUP}{spec.run_id}",
        run_id=spec.run_id,
    )
    # Shared out before anything is paid for: a load that cannot be is refused here.
    plan(spec, [str(number) for number in range(count)], measure)
    with hosts.lowered_afterwards(keep):
        instances = hosts.raise_to(count)
        if isinstance(spec.source, ReplaySource):
            paths = hosts.upload(spec.source.paths)
            spec = spec.model_copy(update={"source": spec.source.model_copy(update={"paths": paths})})
        interrupted = hosts.carry_out(plan(spec, instances, measure), spec)
        reports = hosts.reports(instances)
    merged = merge(reports, instances)
    report = _report(spec.run_id, merged.account, merged.target_rate, merged.produced_rate, merged.late_max_us)
    report["complete"] = merged.complete
    report["problems"] += [*merged.problems, *hosts.failures]
    report.update(_measured(merged))
    return report, interrupted


_WELL: Final = ("done", "stopped")


def _report(run_id: str, account: Accounting, target: float, produced: float, late_max_us: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "messages": {
            "attempted": account.attempted,
            "acked": account.acked,
            "rejected": account.rejected,
            "unknown": account.unknown,
            "consumed": account.consumed,
            "duplicates": account.duplicates if account.consumed is not None else None,
            "lost": account.lost_total if account.consumed is not None else None,
        },
        "rate": {"target": target, "produced": produced},
        "late_max_ms": late_max_us / 1000,
        "latency_ms": None,
        "problems": account.check(),
    }


def _measured(merged: Merged) -> dict[str, Any]:
    """What only several hosts have: clocks that differ, and latencies that are right within that."""
    latency = merged.end_to_end.summary() if merged.end_to_end.count else None
    legs = {}
    for leg, made in merged.legs.items():
        p50, p99 = made.percentiles_ms(50, 99)
        legs[leg] = {"p50": p50, "p99": p99, "max": made.max_us / 1000}
    bar, offset = merged.error_bar_us, merged.largest_offset_us
    return {
        "hosts": merged.hosts,
        "silent": list(merged.silent),
        "latency_ms": latency,
        "error_bar_ms": None if bar is None else bar / 1000,
        "legs_ms": legs,
        "negative_latencies": merged.negative,
        "start_spread_ms": merged.start_spread_us / 1000,
        "largest_clock_offset_ms": None if offset is None else offset / 1000,
        "clocks": {place: one.model_dump() for place, one in merged.clocks.items()},
    }


def conclude(report: dict[str, Any]) -> int:
    """Judges a load: fills `problems`, `missed` and `passed`, and returns the exit code that belongs to them."""
    messages, rate, latency = report["messages"], report["rate"], report["latency_ms"]
    if not report["complete"]:
        report["problems"].append("not all that was planned was sent")
    if bad := messages["rejected"] + messages["unknown"]:
        report["problems"].append(f"{bad:,} messages were not acknowledged")
    missed = []
    if rate["produced"] < _KEPT_UP * rate["target"]:
        missed.append(f"{rate['produced']:,.0f} messages/s were sent of {rate['target']:,.0f}")
    if latency is not None and latency["p99"] >= REQUIRED_P99_MS:
        missed.append(f"latency p99 {latency['p99']:.2f} ms, required < {REQUIRED_P99_MS:g}")
    if latency is not None and latency["max"] > REQUIRED_MAX_MS:
        missed.append(f"the slowest message took {latency['max']:.1f} ms, required <= {REQUIRED_MAX_MS:g}")
    if (apart := report.get("start_spread_ms", 0.0)) > _TOGETHER_MS:
        missed.append(f"the hosts began {apart / 1000:.1f} s apart: for so long, fewer of them sent")
    report["missed"] = missed
    report["passed"] = not report["problems"] and not missed
    return 1 if report["problems"] else 3 if missed else 0


def _show(report: dict[str, Any]) -> None:
    table = Table("load", "", title=f"run {report['run_id']}", title_justify="left")
    table.columns[1].justify = "right"
    for name, value in report["messages"].items():
        if value is not None:
            table.add_row(name, f"{value:,}")
    table.add_row("rate, messages/s", f"{report['rate']['produced']:,.0f} of {report['rate']['target']:,.0f}")
    table.add_row("latest tick, ms", f"{report['late_max_ms']:.1f}")
    if (latency := report["latency_ms"]) is not None:
        table.add_row("latency p50, p99, max, ms", ", ".join(f"{latency[one]:.2f}" for one in ("p50", "p99", "max")))
    if "clocks" in report:
        bar, offset = report["error_bar_ms"], report["largest_clock_offset_ms"]
        sources = sorted({one["source"] for one in report["clocks"].values()})
        table.add_row("hosts", str(report["hosts"]))
        table.add_row("largest clock offset, ms", "not known" if offset is None else f"{offset:.3f}")
        table.add_row("error bar by the clocks, ms", "not known" if bar is None else f"± {bar:.3f}")
        table.add_row("clocks", "; ".join(sources))
        table.add_row("starts apart, ms", f"{report['start_spread_ms']:.1f}")
    console.print(table)
    for problem in report["problems"]:
        console.print("[red]problem:[/red]", problem, markup=True, soft_wrap=True)
    for level in report["missed"]:
        console.print("[yellow]missed:[/yellow]", level, soft_wrap=True)


def _shown(update: Callable[[str], None]) -> Callable[[LoadProgress], None]:
    def show(progress: LoadProgress) -> None:
        text = f"{progress.phase} {progress.elapsed_s:.0f} s, {progress.acked:,} acked"
        update(text + (f" [{progress.trouble}]" if progress.trouble else ""))

    return show
