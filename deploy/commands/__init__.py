"""The subcommands of `millstream`: options and output; what they do is in the modules they call.

A command imports what it needs when it runs: torch takes seconds, and the client of Kafka and the settings their part.
"""
