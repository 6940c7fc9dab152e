"""The evaluator process: how good the scores were, window after window."""
