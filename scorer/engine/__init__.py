"""Running a model version: batches, precision, the forward pass that is shared."""
