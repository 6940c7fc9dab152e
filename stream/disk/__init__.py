"""What processes keep on disk: one way to write it, one owner of a directory."""
