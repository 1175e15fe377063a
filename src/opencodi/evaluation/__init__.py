"""How good a model is: judges trained on real data only, measures, and the report."""
