#!/usr/bin/env python3
"""Reads generated digits and says how many show the class asked for.

    pip install numpy scikit-learn
    python3 tests/judge/judge.py --data MNIST_DIR out/samples [MORE ...]

The judge is a support vector machine on 60 principal components of the 60,000
MNIST training pictures, moved to their centre of mass. It has nothing in
common with the diffusion model: another language, another method, no weights
shared. Its own score on the 10,000 test pictures is printed beside every
other. A folder holds `images.npy` and `labels.npy`, as `tiny-ddpm sample`
writes them.
"""

import argparse
import gzip
import pathlib
import struct
import sys

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC


def read_idx(folder, name):
    """An IDX file of bytes, plain or gzipped."""
    for path, opener in ((folder / f"{name}.gz", gzip.open), (folder / name, open)):
        if path.exists():
            with opener(path, "rb") as file:
                data = file.read()
            break
    else:
        sys.exit(f"error: neither {name} nor {name}.gz is in {folder}")
    dims = struct.unpack_from(f">{data[3]}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * len(dims))
    return values.reshape(dims)


def features(images):
    """Pictures as vectors, shifted so that their centre of mass is the middle."""
    grid = np.arange(28)
    out = np.empty((len(images), 784), np.float32)
    for i, image in enumerate(images):
        mass = max(int(image.sum(dtype=np.int64)), 1)
        dy = 14 - round(float((image.sum(1) * grid).sum()) / mass)
        dx = 14 - round(float((image.sum(0) * grid).sum()) / mass)
        out[i] = np.roll(image, (dy, dx), (0, 1)).reshape(-1) / 255.0
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with MNIST")
    parser.add_argument("folders", type=pathlib.Path, nargs="+", help="folders of samples")
    args = parser.parse_args()

    train = read_idx(args.data, "train-images-idx3-ubyte")
    labels = read_idx(args.data, "train-labels-idx1-ubyte")
    judge = make_pipeline(
        PCA(60, svd_solver="randomized", random_state=0), SVC(C=10, gamma=0.02, cache_size=2000)
    )
    judge.fit(features(train), labels)

    test = read_idx(args.data, "t10k-images-idx3-ubyte")
    test_labels = read_idx(args.data, "t10k-labels-idx1-ubyte")
    score = (judge.predict(features(test)) == test_labels).mean()
    print(f"real test pictures: {score:.2%} of {len(test)}")
    for folder in args.folders:
        images = np.load(folder / "images.npy")
        wanted = np.load(folder / "labels.npy")
        read = judge.predict(features(images))
        each = " ".join(f"{c}:{(read[wanted == c] == c).mean():.1%}" for c in np.unique(wanted))
        print(f"{folder}: {(read == wanted).mean():.2%} of {len(images)}  ({each})")


if __name__ == "__main__":
    main()
