"""The audit: every event accounted for, without subtraction."""
