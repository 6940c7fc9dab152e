"""The model registry: versions on disk, what they hold and who they are."""
