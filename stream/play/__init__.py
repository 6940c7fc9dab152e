"""Producing events: recorded logs and the simulated shop, played at a pace, with a ledger of what was sent."""
