"""Answer pictures with an exported model: python run_onnx.py model_native.onnx image.jpg ...

Prints CSV: path, probability of FEMALE, answer (FEMALE, MALE or abstain), or the reason why there is none.
It needs `pip install onnxruntime numpy pillow`. Pictures are decoded as gender_cls does: upright by EXIF, first frame,
high byte of 16 bits, grey where transparent. Unlike gender_cls, it may not notice damage inside a JPEG file.
"""

import csv
import json
import os
import sys
from io import BytesIO
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report its use to its makers
import numpy as np
import onnxruntime
from PIL import Image, PngImagePlugin

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Image.Transpose
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def read(path: str) -> np.ndarray:
    """An image file -> its pixels (H, W, 3) uint8."""
    with Image.open(BytesIO(Path(path).read_bytes()), formats=FORMATS) as image:
        image.load()
        if image.mode == "F" or (image.mode, image.format) == ("I", "TIFF"):
            raise ValueError("float and 32-bit pixels have no fixed range")
        if image.mode.startswith("I"):
            rgb = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        elif image.has_transparency_data:
            alpha = image.convert("RGBA")
            rgb = Image.composite(alpha.convert("RGB"), Image.new("RGB", alpha.size, (114,) * 3), alpha.getchannel("A"))
        else:
            rgb = image.convert("RGB")
        turn = TURNS.get(image.getexif().get(274, 1))
        return np.asarray(rgb if turn is None else rgb.transpose(Image.Transpose(turn)))


def main(model: str, *paths: str) -> None:
    """Print a row for each path."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    if not metadata.get("native"):
        sys.exit(f"{model} takes resized pixels: name model_native.onnx, which takes pictures of any size.")
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")  # type: ignore[union-attr]  # text
    table = csv.writer(sys.stdout)
    table.writerow(["path", "probability", "answer", "reason"])
    for path in paths:
        try:
            _, [probability], [answer] = session.run(None, {session.get_inputs()[0].name: read(path)})
            table.writerow([path, f"{probability:.6f}", metadata["answers"][answer], ""])
        except Exception as error:  # one bad file must not cost the others
            table.writerow([path, "", "", " ".join(f"{type(error).__name__}: {error}".split())])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else print(__doc__)
