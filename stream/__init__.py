"""What crosses Kafka, and the process that joins clicks to impressions."""
