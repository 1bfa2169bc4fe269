"""Settings of the Service Fabric cluster's machines and of their life cycle."""

import re
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import Section, one_of, wrong

SNAPSHOT_HOURS: Final = (1, 2, 3, 4, 6, 8, 12, 24)
"""How often Data Lifecycle Manager makes snapshots (API Reference, CreateRule)."""

VISIBILITY: Final = 6
"""Time-outs of a function until its queue gives a message out again (AWS Lambda Developer Guide, "Creating and
configuring an Amazon SQS event source mapping")."""

FILE_SERVER_SPEEDS: Final = (32, 64, 128, 256, 512, 1024, 2048)
"""MB/s of a file server in two zones (FSx API Reference, CreateFileSystemWindowsConfiguration)."""


class Hooks(Section):
    """How long Auto Scaling waits for a sign of life while a machine comes or goes; each sign begins it anew."""

    # Amazon EC2 Auto Scaling API Reference, PutLifecycleHook: 30 to 7200 s, and never longer than 100 times in all.
    seed_launch_seconds: int = Field(
        default=600, ge=30, le=7200, description="until a seed that starts has its disk, 30 to 7200 s"
    )
    worker_launch_seconds: int = Field(
        default=3600, ge=30, le=7200, description="until a worker that starts is Up in the cluster, 30 to 7200 s"
    )
    worker_terminate_seconds: int = Field(
        default=900, ge=30, le=7200, description="between two steps of a worker that leaves, 30 to 7200 s"
    )


class ScaleIn(Section):
    """The function that takes workers out of the cluster."""

    memory_mb: int = Field(default=512, ge=128, le=10240, description="memory in MB, 128 to 10240; CPU grows with it")
    timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=900,
        description="time limit of one call, 1 to 900 s; a call that died is repeated after six",
    )
    poll_seconds: int = Field(
        default=15, ge=1, le=900, description="how often a removal under way is looked at, 1 to 900 s"
    )
    sweep_minutes: int = Field(
        default=5,
        ge=1,
        le=60,
        description="how often the cluster is searched for nodes without machines, 1 to 60 min",
    )


class Snapshots(Section):
    """Snapshots of the seeds' data disks."""

    every_hours: int = Field(default=12, description="hours between two, one of Data Lifecycle Manager's steps")
    at: str = Field(default="03:00", description="when the first of a day is made, in UTC, such as 03:00")
    keep: int = Field(default=14, ge=1, le=1000, description="how many of each disk are kept, 1 to 1000")

    @field_validator("every_hours")
    @classmethod
    def _every_hours(cls, value: int) -> int:
        return one_of(value, SNAPSHOT_HOURS)

    @field_validator("at")
    @classmethod
    def _at(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise wrong(f"{value!r} is no time of day: write one such as 03:00")
        return value


class FileServer(Section):
    """FSx for Windows File Server, for the cluster's diagnostics: it joins a directory that exists already."""

    directory_id: str | None = Field(
        default=None, description="the AWS Managed Microsoft AD it joins, such as d-1234567890; null: no file server"
    )
    storage_gb: int = Field(default=32, ge=32, le=65536, description="its SSD storage in GiB, 32 to 65536")
    throughput_mb: int = Field(default=32, description="its speed in MB/s, one of FSx's steps from 32 on")

    @field_validator("directory_id")
    @classmethod
    def _directory_id(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"d-[0-9a-f]{10}", value):
            raise wrong(f"{value!r} is no directory's id: copy it from Directory Service, such as d-1234567890")
        return value

    @field_validator("throughput_mb")
    @classmethod
    def _throughput_mb(cls, value: int) -> int:
        return one_of(value, FILE_SERVER_SPEEDS)


class Fleet(Section):
    """The machines of the Service Fabric cluster."""

    seeds: int = Field(default=5, ge=3, le=9, description="seed nodes: 3, 5, 7 or 9; production has at least 5")
    seed_instance_type: str = Field(default="m6i.large", description="size of a seed, x86-64, such as m6i.large")
    worker_instance_type: str = Field(default="m6i.xlarge", description="size of a worker, such as m6i.xlarge")
    workers_max: int = Field(default=10, ge=1, le=500, description="workers at most, 1 to 500")
    root_gb: int = Field(default=80, ge=50, le=1024, description="system disk of each machine in GiB, 50 to 1024")
    seed_data_gb: int = Field(
        default=100, ge=10, le=16384, description="data disk of each seed in GiB, 10 to 16384; it outlives machines"
    )
    worker_data_gb: int = Field(
        default=100, ge=10, le=16384, description="data disk of each worker in GiB, 10 to 16384; it goes with it"
    )
    worker_cpu_percent: int = Field(
        default=60,
        ge=1,
        le=100,
        description="how busy workers are kept on average: more or fewer of them, 1 to 100 %",
    )
    service_fabric_version: str = Field(
        default="10.1.2175.9590", description="the version that a new cluster is formed with, such as 10.1.2175.9590"
    )
    hooks: Hooks = Field(default_factory=lambda: Hooks(), description="how long machines may take to come and go")
    scale_in: ScaleIn = Field(
        default_factory=lambda: ScaleIn(), validate_default=True, description="the function that removes workers"
    )
    snapshots: Snapshots = Field(default_factory=lambda: Snapshots(), description="of the seeds' data disks")
    second_address: bool = Field(
        default=False, description="true: a worker gets the interface that its tag Eth1 describes as its second one"
    )
    file_server: FileServer = Field(
        default_factory=lambda: FileServer(), description="a Windows share for the cluster's diagnostics"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: int) -> int:
        if value % 2 == 0:
            raise wrong(
                f"{value} seeds survive the loss of no more than {value - 1} would, as a majority must be left: use "
                "an odd number"
            )
        return value

    @field_validator("scale_in")
    @classmethod
    def _scale_in(cls, value: ScaleIn, info: ValidationInfo) -> ScaleIn:
        hooks, again = info.data.get("hooks"), VISIBILITY * value.timeout_seconds
        if hooks is not None and hooks.worker_terminate_seconds <= again:
            raise wrong(
                f"a call that died is repeated after {again} s, six times timeout_seconds, and a worker that leaves "
                f"is given up after {hooks.worker_terminate_seconds} s without a sign: shorten timeout_seconds, or "
                f"set fleet.hooks.worker_terminate_seconds above {again}"
            )
        return value

    @field_validator("seed_instance_type", "worker_instance_type")
    @classmethod
    def _instance_type(cls, value: str) -> str:
        found = re.fullmatch(r"([a-z]+\d+)([a-z-]*[a-z0-9]*)\.[a-z0-9-]+", value)
        if found is None:
            raise wrong(f"{value!r} is no instance type: write one such as m6i.large")
        if found[2].startswith("g") or value.startswith("a1."):
            raise wrong(f"{value} has an ARM processor, on which Windows does not run: use one such as m6i.large")
        return value

    @field_validator("service_fabric_version")
    @classmethod
    def _service_fabric_version(cls, value: str) -> str:
        if not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
            raise wrong(f"{value!r} is no version: write all four numbers, such as 10.1.2175.9590")
        return value
