"""Names and titles of the changed versions of a crop that a model is tested on. Imports no torch."""

CORRUPTIONS = {
    "low_resolution": "low resolution",
    "motion_blur": "motion blur",
    "defocus": "defocus",
    "jpeg": "JPEG compression",
    "low_light": "low light with noise",
    "infrared": "grey and infrared",
    "fog": "fog",
    "occlusion": "occlusion",
    "box_shift": "shifted detector box",
}
"""Name -> title, for the stress test; see `corruptions.py`."""

SEVERITIES = (1, 2, 3, 4, 5)

SHORTCUTS = {
    "person_masked": "person replaced by the mean colour",
    "background_only": "background only",
    "person_only": "person only",
    "grey": "grey",
    "eight_pixels": "8x8 pixels",
}
"""Name -> title, for the shortcut test; see `shortcuts.py`."""
