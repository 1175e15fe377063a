"""What the paper does not have: one idea per file, each an object that can be left out."""
