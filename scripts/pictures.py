"""Pictures for the README and the documentation, made small of those that `make screenshots` took.

    python scripts/pictures.py build/screenshots docs/images

Knows which pages they show. Invariant: a picture that is wanted and was not taken is an error, and no picture is larger than
MOST_BYTES.
"""

import io
import sys
from pathlib import Path

from PIL import Image

MOST_BYTES = 150_000
WANTED = {
    "models": "models-light-1200",
    "model": "models-nano-light-1200",
    "playground": "playground-explained-light-1200",
    "two-runs": "playground-two-runs-light-1200",
    "status": "status-light-1200",
    "docs-search": "docs-q-how-are-sessions-kept-light-1200",
    "usage": "console-usage-light-1200",
    "requests": "console-requests-light-1200",
    "limits": "console-limits-light-1200",
    "batch": "console-batches-batch-id-light-1200",
    "onboarding": "operator-onboard-done-light-1200",
    "phone": "playground-dark-390",
}
"""By the name of the picture, that of the page, its look and its width."""
HIGHEST, HIGHEST_OF_PHONES = 1.1, 2.0
"""Of the width: what of a long page is shown."""
_QUALITY, _PHONE = 80, 600


def small(picture: Image.Image) -> bytes:
    most = round(picture.width * (HIGHEST if picture.width > _PHONE else HIGHEST_OF_PHONES))
    kept = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, most)))
    content = io.BytesIO()
    kept.save(content, "WEBP", quality=_QUALITY, method=6)
    return content.getvalue()


def main(taken: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in WANTED.items():
        with Image.open(taken / f"{page}.png") as picture:
            content = small(picture)
        if len(content) > MOST_BYTES:
            raise SystemExit(f"{name}: {len(content)} bytes, at most {MOST_BYTES}")
        (folder / f"{name}.webp").write_bytes(content)
        print(f"{folder / name}.webp  {len(content)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
