"""Measures that work on anything given to them; no collection is known here."""
