"""Searching settings on a recorded log."""
