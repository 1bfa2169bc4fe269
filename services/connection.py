"""How a process of the load reaches Kafka: a description that crosses process borders, and the settings it means."""

from pydantic import BaseModel, ConfigDict, Field

from services.kafka import client_config


class ConnectionSpec(BaseModel):
    """A cluster's address and how to sign in. Each process builds its own client from it.

    With a `region` the client signs in as MSK's IAM authentication wants it (and as the sandbox's broker checks it);
    without one it connects in plain text, which benchmarks and tests use. `extra` are librdkafka settings on top.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: str
    region: str | None = None
    extra: dict[str, str | int | float | bool] = Field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """librdkafka's settings for this connection, callbacks included."""
        base = client_config(self.bootstrap, self.region) if self.region else {"bootstrap.servers": self.bootstrap}
        return {**base, **self.extra}
