"""What survives a crash: plans, checkpoints, the ledger."""
