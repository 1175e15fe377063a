"""A fifth modality, from its record to pictures of it. See docs/new-modality.md."""
