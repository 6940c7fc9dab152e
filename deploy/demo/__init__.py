"""The demo: the production processes under one supervisor, on a simulated shop or a recorded log."""
