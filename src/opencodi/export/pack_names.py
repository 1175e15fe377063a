"""Names of the files of a pack that are no stickers."""

PACK = "pack.json"
"""What is in a pack; a folder that holds it is a pack."""

WHATSAPP_CONTENTS = "contents.json"
"""The same as WhatsApp's sample apps read it."""
