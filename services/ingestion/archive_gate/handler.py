"""The archive gate as a function: the delivery stream's Lambda transformation of records from MSK.

Event and answer have the shape of MSKFirehoseEvent and MSKFirehoseResponse (aws/aws-lambda-java-libs,
aws-lambda-java-events); the results are those of the Firehose Developer Guide, "Required parameters for data
transformation". A record that breaks the contract is answered ``ProcessingFailed`` with its original value, so that
the stream writes it below the error prefix. Calling it twice with one event is harmless.
"""

import time
from binascii import a2b_base64, b2a_base64
from typing import Any, Final

from aws_lambda_powertools import Logger

from services import contract
from services.ingestion.archive_gate.gate import Origin, admit

REASONS_LOGGED: Final = 5
"""How many refused records of one batch are logged one by one; the rest is counted."""

# A record's key and value stay out of the log: reasons and positions are enough to find it in the error prefix.
logger = Logger(service="archive-gate")


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Checks each record of a batch; every record id is answered exactly once, in order."""
    gate_us = time.time_ns() // 1000
    answers = []
    refused = []
    for record in event["records"]:
        value = record["kafkaRecordValue"] or ""
        metadata = record["mskRecordMetadata"]
        origin = Origin(
            partition=int(metadata["partitionId"]),
            offset=int(metadata["offset"]),
            # Firehose calls both approximateArrivalTimestamp: the metadata's is taken for the record's own in Kafka.
            broker_ms=int(metadata["approximateArrivalTimestamp"]),
            arrival_ms=int(record["approximateArrivalTimestamp"]),
        )
        try:
            line = admit(a2b_base64(value), origin, gate_us)
        except contract.ContractError as error:
            refused.append((origin, error))
            answers.append({"recordId": record["recordId"], "result": "ProcessingFailed", "kafkaRecordValue": value})
        else:
            answers.append(
                {
                    "recordId": record["recordId"],
                    "result": "Ok",
                    "kafkaRecordValue": b2a_base64(line, newline=False).decode(),
                }
            )
    for origin, error in refused[:REASONS_LOGGED]:
        logger.warning("record refused", partition=origin.partition, offset=origin.offset, reason=str(error)[:300])
    if refused:
        logger.warning("records refused in this batch", refused=len(refused), records=len(answers))
    return {"records": answers}
