"""Reading the processes' metrics, and views of that reading."""
