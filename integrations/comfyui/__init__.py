"""OpenCoDi's nodes for ComfyUI: copy or link this folder into ``ComfyUI/custom_nodes``; docs/comfyui.md explains them."""

from .nodes import NODES

NODE_CLASS_MAPPINGS = {node.__name__: node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {node.__name__: f"OpenCoDi {node.TITLE}" for node in NODES}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
