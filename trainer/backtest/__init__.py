"""The core of Millstream driven by a log instead of Kafka, to compare ways of learning on the same impressions."""
