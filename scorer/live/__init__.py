"""Following the model that serves, and swapping it."""
