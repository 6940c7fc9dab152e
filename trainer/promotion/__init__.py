"""What may serve: the gate, publication, an operator's commands."""
