"""Where settings come from: names, the file, the environment."""
