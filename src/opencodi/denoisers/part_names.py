"""Which part of a denoiser a weight belongs to, told by its name."""


def is_alignment(name: str) -> bool:
    """Whether a parameter belongs to the alignment sub-layers, the environment encoder or the environment map."""
    return name.startswith(("environment_encoder.", "environment_map.")) or ".alignment." in name


def is_temporal(name: str) -> bool:
    """Whether a parameter is of the motion map or a temporal block of the denoising path (the encoder's are alignment's)."""
    return name.startswith("motion_map.") or (".temporal." in name and not is_alignment(name))
