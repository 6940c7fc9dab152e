"""A local Kafka broker for trials and tests."""
