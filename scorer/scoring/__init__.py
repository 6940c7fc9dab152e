"""The scoring process: labeled impressions become weighted examples."""
