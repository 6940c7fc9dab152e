"""What a command asks first: whether a cluster answers."""


def require_cluster() -> None:
    """Refuse at once, before anything slow is loaded, where no cluster answers.

    Raises:
        ClusterError: None does.
    """
    from stream.process import start

    start.require_cluster()
