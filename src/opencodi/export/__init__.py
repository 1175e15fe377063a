"""Sticker packs that messengers take, from pictures, clips and sounds."""

from .pack import Pack, export_packs
from .sources import Sticker, find_stickers
from .targets import TARGETS, Target, table

__all__ = ["TARGETS", "Pack", "Sticker", "Target", "export_packs", "find_stickers", "table"]
