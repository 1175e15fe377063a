"""Where a file comes from: credentials say who made it and can be stripped, a watermark survives and says only by which key.

Nothing here claims that a file is real.
"""
