"""Training: one loop, and a task per stage."""
