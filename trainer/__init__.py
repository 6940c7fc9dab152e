"""The process that keeps learning."""
