"""Where a file comes from: credentials say who made it and can be stripped, a watermark survives and says only by which key.

Nothing here claims that a file is real. ``docs/security.md`` says what is promised and what is not.
"""

from .reading import Found
from .signing import Credentials, Statement, prepare, sign
from .verification import Verdict, Verification, verify

__all__ = ["Credentials", "Found", "Statement", "Verdict", "Verification", "prepare", "sign", "verify"]
