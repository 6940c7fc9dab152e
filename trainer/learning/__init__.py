"""Learning: the weighted update and what it replays."""
