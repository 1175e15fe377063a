"""Small drawings, as SVG of our own: one line width, 24 units square."""

ICONS = {
    "text": '<path d="M5 6h14M5 12h14M5 18h8"/>',
    "image": '<rect x="4" y="5" width="16" height="14" rx="3"/><path d="m5 17 4.5-4.5 3 3 3.5-4 3.5 4"/>'
    '<circle cx="9" cy="9" r="1.2"/>',
    "video": '<rect x="3.5" y="6" width="12" height="12" rx="3"/><path d="m15.5 11 5-3v8l-5-3z"/>',
    "audio": '<path d="M4 10v4M8 7v10M12 4v16M16 8v8M20 10v4"/>',
    "use": '<path d="M20 6v5a3 3 0 0 1-3 3H5"/><path d="m9 10-4 4 4 4"/>',
    "save": '<path d="M12 4v11m-4.5-4 4.5 4.5 4.5-4.5M5 20h14"/>',
    "sticker": '<path d="M12 4h5a3 3 0 0 1 3 3v6l-7 7H7a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3z"/><path d="M20 13h-4a3 3 0 0 0-3 3v4"/>',
}
ICONS = {
    name: f'<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
    f'stroke-linejoin="round" aria-hidden="true">{shapes}</svg>'
    for name, shapes in ICONS.items()
}


def icon(name: str) -> str:
    """One of them in the text."""
    return f'<span class="oc-icon">{ICONS[name]}</span>'
