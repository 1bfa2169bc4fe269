"""Reading the stream: latency, loss and duplicates."""
