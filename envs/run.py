"""The main job, end to end on a sandbox: up, cluster, load, measure, archive, analyze, drill, report, down."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from envs import analysis, cluster, lifecycle, measurement, runs
from envs.drills import catalogue, running
from envs.drills.field import Settings, settle
from envs.drills.result import Result
from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.load_request import LoadRequest
from envs.measurement import Measured
from envs.progress import console, step
from envs.summary import Analysis, Check, Fabric, Latency, Leg, Messages, Rate, Resources, Summary, tables
from services.errors import ServiceError
from services.kafka import bootstrap_servers
from services.simulator.load import LoadSpec
from services.simulator.source import GeneratedSource, ReplaySource

INTERRUPTED: Final = 130
_SCALE_IN: Final = catalogue.chosen("scale-in")[0]


class Request(LoadRequest):
    """What the user asked for: a load, and what is done around it."""

    keep: bool = False
    workers: int = Field(default=6, ge=6)


def run(environment: Environment, asked: Request, json_path: Path | None = None) -> int:
    """Runs the whole job and returns its exit code. Whatever happens, what was started here is ended here."""
    sandbox = environment.sandbox
    if sandbox is None:
        raise UsageError(f"`run` works on a sandbox: add --emulated to emulate {environment.name}")
    source = asked.source()
    folder = runs.create()
    keep = asked.keep or sandbox.exists
    job = _Job(environment, asked, source, folder)
    try:
        job.run()
    finally:
        if not keep:
            with _undisturbed():
                try:
                    lifecycle.down(environment)
                except FleetstreamError as error:
                    job.summary.problems.append(str(error))
    code = job.finish(json_path)
    return INTERRUPTED if job.interrupted else code


class _Job:
    """One run and what it has found so far."""

    def __init__(
        self, environment: Environment, asked: Request, source: ReplaySource | GeneratedSource, folder: Path
    ) -> None:
        self.environment = environment
        self.asked = asked
        self.source = source
        self.folder = folder
        self.run_id = f"r{datetime.now(UTC):%H%M%S}{secrets.token_hex(2)}"
        self.measured = Measured()
        self.outputs: dict[str, Any] = {}
        self.drilled: Result | None = None
        self.dead_before = 0
        self.interrupted = False
        self.started = time.monotonic()
        self.until_the_end = ExitStack()
        self.summary = Summary(environment=environment.name, seed=asked.seed, started=datetime.now(UTC))

    def run(self) -> None:
        """Goes through the stages until one fails, and notes why."""
        stages: tuple[tuple[str, Callable[[], None]], ...] = (
            ("bringing the environment up", self.bring_up),
            ("forming the cluster", self.form),
            ("the load", self.load),
            ("waiting for the archive", self.archive),
            ("the analysis", self.analyze),
            ("the scale-in drill", self.drill),
        )
        with self.until_the_end:
            for name, stage in stages:
                try:
                    stage()
                except KeyboardInterrupt:
                    self.interrupted = True
                    self.summary.problems.append(f"interrupted during {name}")
                    break
                except (FleetstreamError, ServiceError) as error:
                    self.summary.problems.append(f"{name}: {error}")
                    break
                except OSError as error:
                    self.summary.problems.append(
                        f"{name}: cannot write {error.filename or self.folder}: {error.strerror}"
                    )
                    break
        self.account()

    def bring_up(self) -> None:
        made = lifecycle.up(self.environment)
        self.environment.enter()
        self.outputs = self.environment.engine().outputs()
        self.summary.resources = Resources(
            created=made.changes["create"], by_type=dict(sorted(lifecycle.by_type(self.environment).items()))
        )
        self.dead_before = measurement.dead_letters(self.s3, self.outputs).update().records

    def form(self) -> None:
        """To a cluster at rest: what is measured afterwards shares the machine with it."""
        cluster.bootstrap(self.environment, self.asked.workers, None, None)
        ground = running.stand(self.environment, [_SCALE_IN])
        settle(ground.place, ground.gateway, Settings())

    def load(self) -> None:
        session = self.environment.session()
        telemetry, canary = measurement.topics(self.outputs)
        bootstrap = bootstrap_servers(self.outputs["kafka_cluster_arn"], session)
        spec = LoadSpec(
            connection=measurement.connection(bootstrap, self.outputs["region"]),
            topic=telemetry,
            warmup_topic=canary,
            run_id=self.run_id,
            source=self.source,
            seconds=self.asked.seconds,
            rate=None if self.asked.speed else self.asked.rate,
            speed=self.asked.speed or 1.0,
            processes=self.asked.processes,
            # A tick costs a request on its whole way: with ticks of 1 ms the median is lower, and two cores busier.
            tick_us=2000,
            warmup_seconds=self.asked.warm_up,
        )
        measurement.send_and_measure(spec, self.folder, self.measured, self.environment.brokers_on_time())
        if self.measured.load and self.measured.load.interrupted:
            raise KeyboardInterrupt

    def archive(self) -> None:
        if self.measured.load is None:
            raise FleetstreamError("nothing was sent: there is nothing to archive")
        # Early: its session starts while the archive fills.
        job = analysis.SparkJob(self.outputs, self.run_id, self.measured.load, self.folder)
        self.spark = self.until_the_end.enter_context(job)
        measurement.wait_for_archive(self.s3, self.outputs, self.run_id, self.dead_before, self.measured)

    def analyze(self) -> None:
        with step("analysis (Spark)") as current:
            found = self.spark.result()
            self.summary.analysis = Analysis(
                rows=found["rows"],
                devices=found["devices"],
                windows=found["windows"],
                output=str(self.folder / "analysis"),
            )
            self.summary.problems.extend(
                f"object {broken['object']} was not analyzed: {broken['reason']}"
                for broken in found["broken_objects"]
            )
            if found["quarantined"]:
                self.summary.problems.append(f"{found['quarantined']} rows of the archive are in quarantine")
            current.detail = f"{found['rows']:,} rows of {found['devices']} devices"

    def drill(self) -> None:
        """The workers that leave stay away: the environment is taken down next, or shows what the drill left."""
        ground = running.stand(self.environment, [_SCALE_IN])
        self.drilled = found = running.perform(ground, _SCALE_IN, Settings(), self.folder / "drill")
        parts = ("nodes", "seed_nodes", "removed", "zombies")
        self.summary.fabric = Fabric(**{part: found.figures[part] for part in parts})
        self.summary.problems.extend(f"drill {found.drill}: {reason}" for reason in found.reasons)

    def account(self) -> None:
        """Fills the summary's counts and latencies from what was measured, and compares independent counts."""
        measured, summary = self.measured, self.summary
        found = measured.account()
        if found is None or measured.load is None:
            return
        summary.problems.extend(found.check())
        summary.messages = Messages(
            attempted=found.attempted,
            acked=found.acked,
            rejected=found.rejected,
            unknown=found.unknown,
            consumed=found.consumed,
            archived=found.archived,
            dead_lettered=found.dead_lettered if measured.archive else None,
            duplicates=found.duplicates + found.archive_duplicates,
            lost=found.lost_total if measured.consumed and measured.archive else None,
        )
        summary.rate = Rate(
            target=measured.load.target_rate,
            produced=measured.load.produced_rate,
            consumed=measured.sustained_rate(self.asked.seconds),
        )
        if measured.consumed is not None and measured.consumed.consumed:
            summary.latency_ms = Latency.model_validate(measured.consumed.end_to_end.summary())
            for leg, made in measured.consumed.legs.items():
                p50, p99 = made.percentiles_ms(50, 99)
                summary.legs_ms[leg] = Leg(p50=p50, p99=p99, max=made.max_us / 1000)
        if measured.appended is not None:
            in_log = found.acked + found.unknown
            summary.checks.append(
                Check(name="messages in the topic, by its offsets", expected=in_log, found=measured.appended)
            )
        if measured.archive is not None and summary.analysis.rows is not None:
            summary.checks.append(
                Check(name="rows that Spark read", expected=measured.archive.records, found=summary.analysis.rows)
            )

    def finish(self, json_path: Path | None) -> int:
        """Writes summary and report, tells the result, and returns the exit code."""
        summary = self.summary
        summary.seconds = round(time.monotonic() - self.started, 1)
        code = summary.conclude()
        report = self.folder / "report.html"
        summary.analysis.report = str(report)
        content = summary.model_dump(mode="json")
        lifecycle.write_json(self.folder / "summary.json", content)
        drilled = None if self.drilled is None else self.drilled.as_json()
        analysis.write_report(summary, self.measured, self.asked.model_dump(mode="json"), drilled, self.folder)
        if machine := self.measured.machine:
            console.print("machine:", "; ".join(f"{name} {value}" for name, value in machine.items()), soft_wrap=True)
        latest = runs.publish(self.folder)
        if json_path is not None:
            lifecycle.write_json(json_path, content)
        for table in tables(summary):
            console.print(table)
        for problem in summary.problems:
            console.print("[red]problem:[/red]", problem, soft_wrap=True)
        console.print(f"report: {os.path.relpath(latest / 'report.html')}", soft_wrap=True)
        verdict = {
            0: "[green]passed[/green]",
            1: "[red]failed[/red]",
            3: "[yellow]works, but missed a level[/yellow]",
        }
        console.print(f"{verdict[code]} after {summary.seconds:g} s")
        return code

    @property
    def s3(self) -> Any:
        return self.environment.session().client("s3")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Taking down what was started is short and must end: a further Ctrl-C waits for it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
