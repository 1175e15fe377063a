"""Collections of training data and all that is known about them. Nothing below this package knows any collection."""
