"""The guardrails at work: companions without an engine, everything else under the real one."""

import contextlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from textwrap import dedent

import pulumi
import pulumi_aws as aws
import pytest
from declared import Pulumi, run_mocked

from infra.guardrails import Guardrails
from infra.waivers import Waiver

TODAY = date(2026, 1, 31)


def guarded(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object], *waivers: Waiver) -> Guardrails:
    """Declares resources and judges what must stand beside them; mocks run no transforms and know no hooks."""
    made: list[Guardrails] = []
    monkeypatch.setattr(pulumi, "ResourceHook", lambda *_: None)
    monkeypatch.setattr(pulumi.runtime, "register_resource_transform", lambda _: None)
    monkeypatch.setattr(Guardrails, "_settle", lambda self: self._complete.set() if self._closed else None)

    def program() -> None:
        made.append(Guardrails(waivers, TODAY))
        made[0].install()
        body()
        made[0].close()

    # The verdict ends a program that has violations.
    with contextlib.suppress(pulumi.RunError):
        run_mocked(program)
    return made[0]


def queue_with_policy() -> aws.sqs.Queue:
    queue = aws.sqs.Queue("kept", sqs_managed_sse_enabled=True)
    aws.sqs.QueuePolicy("kept-policy", queue_url=queue.url, policy=queue.arn.apply(lambda arn: f'["{arn}"]'))
    return queue


def test_what_has_its_companion_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded(monkeypatch, queue_with_policy).violations == []


def test_what_stands_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        queue_with_policy()
        aws.sqs.Queue("alone", sqs_managed_sse_enabled=True)
        aws.s3.Bucket("bucket")
        aws.lambda_.Function("function", role="arn:aws:iam::1:role/x")
        watched = aws.ec2.Vpc("watched", cidr_block="10.0.0.0/16")
        aws.ec2.FlowLog("log", vpc_id=watched.id, traffic_type="ALL")
        aws.ec2.Vpc("vpc", cidr_block="10.1.0.0/16")

    found = guarded(monkeypatch, program).violations
    assert sorted((text.split(" ")[0], text.split(": ")[1]) for text in found) == [
        ("alone", "sqs-tls-only"),
        ("bucket", "s3-encrypted"),
        ("bucket", "s3-not-public"),
        ("bucket", "s3-tls-only"),
        ("function", "lambda-dead-letters"),
        ("vpc", "vpc-flow-logs"),
    ]


def waiver(expires: date) -> Waiver:
    return Waiver(rule="sqs-tls-only", resource="alone", reason="legacy clients only", expires=expires)


def lone_queue() -> None:
    aws.sqs.Queue("alone", sqs_managed_sse_enabled=True)


def test_a_waiver_holds_to_its_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded(monkeypatch, lone_queue, waiver(TODAY)).violations == []


def test_an_expired_waiver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (violation,) = guarded(monkeypatch, lone_queue, waiver(date(2026, 1, 30))).violations
    assert "its waiver expired on 2026-01-30" in violation


# The engine's built-in resource needs no provider; a rule of the test's own judges it.
PROGRAM = dedent('''
    import asyncio
    from datetime import date

    import pulumi

    from infra import checks, exits, guardrails, rules

    rule = rules.Rule(
        name="input-good",
        types=("pulumi:index:Stash",),
        check=checks.must_be("input", lambda value: value != "bad", "is bad", "make it good"),
    )
    rules.RULES = (*rules.RULES, rule)


    def known_late(value):
        """Unknown at preview, known at deployment."""

        def done(result):
            future = asyncio.Future()
            future.set_result(result)
            return future

        return pulumi.Output(set(), done(value), done(not pulumi.runtime.is_dry_run()))


    exits.end_quietly_on_interrupt()
    rails = guardrails.Guardrails((), date.today())
    rails.install()
    {body}
    rails.close()
''')


def test_a_preview_reports_every_violation_and_fails(engine: Pulumi) -> None:
    engine.program(
        PROGRAM.format(
            body='for name in ("one", "two", "three"): pulumi.Stash(name, input="bad" if name != "two" else 1)'
        )
    )
    ran = engine("preview")
    told = ran.stdout + ran.stderr
    assert ran.returncode != 0
    for name in ("one", "three"):
        assert f"{name} (pulumi:index:Stash): input-good: input is bad" in told
    assert "two (" not in told
    assert "2 guardrail violations" in told
    assert "Traceback" not in told


def test_what_is_unknown_at_preview_is_refused_before_it_is_made(engine: Pulumi) -> None:
    engine.program(
        PROGRAM.format(body='pulumi.Stash("good", input="x")\npulumi.Stash("late", input=known_late("bad"))')
    )
    preview = engine("preview")
    assert preview.returncode == 0, preview.stdout + preview.stderr
    ran = engine("up", "--yes")
    told = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "late (pulumi:index:Stash): input-good: input is bad" in told
    assert "Traceback" not in told
    assert "late" not in engine("stack").stdout


def test_a_program_that_keeps_the_rules_deploys(engine: Pulumi) -> None:
    engine.program(PROGRAM.format(body='pulumi.Stash("good", input=known_late("x"))'))
    ran = engine("up", "--yes")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "good" in engine("stack").stdout


def test_the_engine_is_told_of_settings_mistakes_without_a_traceback(engine: Pulumi, tmp_path: Path) -> None:
    engine.program("from infra.__main__ import main\n\nmain()\n")
    (tmp_path / "Pulumi.test.yaml").write_text(
        "config:\n  fleetstream:settings:\n    ownre: me\n  fleetstream:other: 1\n  aws:region: eu-central-1\n"
    )
    ran = engine("preview")
    told = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "fleetstream:settings.ownre: unknown key, did you mean owner?" in told
    assert "fleetstream:other: unknown key" in told
    assert "fleetstream:settings.network: is missing" in told
    assert "Traceback" not in told
