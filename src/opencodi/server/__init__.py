"""OpenCoDi behind HTTP: ``opencodi serve`` (extra ``server``). Importing this package loads no torch and no FastAPI.

From a request to a result: gate.py (key, size, free place) → forms.py (what is asked) → decoding.py (uploads, in a
process of their own) → jobs.py (who waits) → engine.py and batching.py (one pipeline, one thread) → storage.py (files).
"""
