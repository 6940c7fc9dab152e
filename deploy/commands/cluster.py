"""What a command asks first: whether a cluster answers."""


def require_cluster() -> None:
    """Refuse at once, before anything slow is loaded, where no cluster answers.

    Raises:
        ClusterError: None does.
    """
    from stream.cluster import admin
    from stream.settings import KafkaSettings

    admin.require_cluster(KafkaSettings())
