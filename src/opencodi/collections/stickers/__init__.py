"""The stickers collection: pictures, clips, sounds and names of emoji, from which the bundled model learned."""
