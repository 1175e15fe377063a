"""How good a model of stickers is: the measures, in turn, and the report."""
