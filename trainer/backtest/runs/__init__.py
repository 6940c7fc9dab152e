"""What a backtest computes."""
