"""Executes one delivery stream as it was deployed: Kafka topic -> (Lambda transformation) -> objects in S3.

``python -m envs.sandbox.firehose --state-dir DIR --stream NAME``. What it does is read from DescribeDeliveryStream;
how it does it follows the Amazon Data Firehose Developer Guide, page by page as the modules name them.

Delivery is at least once and in order within a partition: offsets are committed only after the objects that hold the
records are written. A process that is killed delivers what it had in hand again; nothing is lost.
"""
