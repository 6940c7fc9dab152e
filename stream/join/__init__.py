"""The label join: events become labeled impressions."""
