"""How good a model is: features, distances, obedience, originality, and a report."""
