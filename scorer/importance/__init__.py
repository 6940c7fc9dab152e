"""How much a labeled impression should teach the model."""
