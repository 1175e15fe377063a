"""Paired data for training: WebDataset shards held in memory, captions, augmentation and splits."""
