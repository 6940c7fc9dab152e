"""What every process is made of: its start and end, logs, metrics page, threads."""
