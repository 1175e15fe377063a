"""Many prompts from a file, without anybody waiting: read, made in batches, written one folder each, and resumed.

``items`` reads and checks lines, ``making`` makes what they ask for and ``run`` does all of it on this machine or through Ray.
"""
