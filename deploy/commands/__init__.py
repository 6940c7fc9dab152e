"""The subcommands of `millstream`: options and output; what they do is in the modules they call."""
