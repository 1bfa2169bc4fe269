"""Settings of the functions."""

from pydantic import Field, field_validator

from infra.sections.common import Section, wrong


class Function(Section):
    """One Lambda function."""

    memory_mb: int = Field(default=512, ge=128, le=10240, description="memory in MB, 128 to 10240; CPU grows with it")
    timeout_seconds: int = Field(default=60, ge=1, le=900, description="time limit of one call, 1 to 900 s")
    reserved_concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="calls at once that are set aside for it, 1 to 1000; null: none"
    )


class Functions(Section):
    """The functions around the stream."""

    archive_gate: Function = Field(default_factory=lambda: Function(), description="its memory and time")

    @field_validator("archive_gate")
    @classmethod
    def _archive_gate(cls, value: Function) -> Function:
        if value.timeout_seconds > 300:
            raise wrong(f"timeout_seconds {value.timeout_seconds}: Firehose waits 300 s at most: lower it")
        return value
