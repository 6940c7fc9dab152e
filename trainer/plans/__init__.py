"""What an update learns from, written down before it learns."""
