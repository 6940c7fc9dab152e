"""Talking to the Kafka cluster without Faust."""
