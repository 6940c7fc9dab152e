"""Where every process listens on the loopback where its settings name no port; all stand here, so none clash."""

METRICS_PORTS = {
    "stream": 9101,
    "scorer": 9102,
    "evaluator": 9103,
    "trainer": 9104,
    "shop": 9105,
    "service": 9106,
    "adapter": 9107,
}
"""Port of /metrics by name of the process; a local Prometheus is told the same."""

SERVICE_PORT = 8080
"""Port of HTTP scoring."""

KAFKA_PORT = 9092
"""Port of a local Kafka, and where brokers are looked for."""
