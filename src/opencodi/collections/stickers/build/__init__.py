"""How the stickers collection is made: pinned public packages in, WebDataset shards with checksums out.

``sources`` names the packages, ``fetch`` gets them, one file per shard turns them into items, ``withheld`` says what is
withheld, ``shards`` writes, ``build`` is the order of it all and ``check`` looks at the result.
"""
