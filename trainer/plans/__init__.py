"""What an update learns from: the log, read in one order and cut."""
