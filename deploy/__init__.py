"""How it runs: command line, local Kafka, demo, audit, doctor."""
