"""Make gradflow/data/mnist.npz from a folder with the four MNIST IDX files (plain or .gz).

Usage: python scripts/make_mnist.py SOURCE_DIR [OUTPUT]
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
OUTPUT = Path(__file__).resolve().parent.parent / "gradflow" / "data" / "mnist.npz"


def verified(folder: Path, name: str) -> bytes:
    """Return the unpacked bytes of one file, after comparing their SHA-256."""
    packed = folder / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else b""
    content = content or (folder / name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        sys.exit(f"error: {folder / name}: SHA-256 is {found}, expected {SHA256[name]}")
    return content


def main(source: str, output: str | Path = OUTPUT) -> None:
    """Write the archive: numpy stamps its members 1980-01-01, so equal input, equal bytes."""
    train_images, train_labels, test_images, test_labels = (
        np.frombuffer(verified(Path(source), name), np.uint8) for name in SHA256
    )
    np.savez_compressed(
        output,
        train_images=train_images[16:].reshape(60_000, 28, 28),  # 16 and 8: the IDX headers
        train_labels=train_labels[8:],
        test_images=test_images[16:].reshape(10_000, 28, 28),
        test_labels=test_labels[8:],
    )
    print(f"{output}: {Path(output).stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
