"""A simulated shop: catalogue, users with tastes that drift, sessions, delayed clicks and the junk of a real stream."""
