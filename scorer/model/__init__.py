"""The model: text and numbers in, a click logit out."""
