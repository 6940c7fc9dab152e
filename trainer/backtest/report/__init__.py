"""What a backtest tells."""
