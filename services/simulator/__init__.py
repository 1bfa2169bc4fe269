"""Load on the platform: recorded or generated telemetry, sent when it is due."""
