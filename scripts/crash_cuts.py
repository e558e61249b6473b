"""The truncated inputs of `scripts/crash.py`: every command with each of its inputs cut at random lengths. It must end
with an error that names the file, or with the same bits as with the whole input; never with a panic."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from crash_commands import MODEL, contents, end
from crash_data import Hub, digest, tree

PICTURES = ["p.png", "t.tif", "n.npy", "a.nii", "b.nii.gz"]


@dataclass
class Cut:
    command: str
    call: list  # arguments, relative to the folder that `material` is copied into
    material: dict  # where files and folders lie there, and where they come from
    files: list  # those to cut, one at a time
    out: str = "out"
    lines: bool = False  # a text whose first lines alone are a whole one: only a panic is a fault
    env: dict = field(default_factory=dict)


def cuts(bench):
    base = bench.folder
    toml = base / "cut.toml"
    toml.write_text(bench.toml("data", "[4, 8, 8, 8, 8]", 1))
    data, model = {"data": base / "data", "train.toml": toml}, {"model": base / "a"}
    train = ["train", "-c", "train.toml", "-o", "out"]
    weights = ["model/config.json", "model/model.safetensors"]
    slices = ["data/images/a_z0001.png", "data/masks/a_z0001.png"]
    index = ["data/dataset.json", "data/preprocessor_config.json"]
    yield Cut("train", train, data, [*slices, "data/regions/a_z0001.png", *index])
    tuned = [*train, "--init-from", "model", "--set", "model.filters=[8,16,16,16,16]"]
    yield Cut("train", tuned, {**data, **model}, weights)
    yield Cut("train", ["train", "--resume", "run"], {"run": base / "run-a"}, ["run/checkpoint.safetensors"], out="run")
    volumes = [f"pairs/{kind}/{name}" for kind in ("images", "labels") for name in ("a.nii", "b.nii.gz")]
    pairs = [str(part) for part in bench.pairs(Path("pairs"))]
    yield Cut("prepare", ["prepare", "folder", *pairs, "-o", "out"], {"pairs": base / "pairs"}, volumes)
    predict = ["predict", "-o", "out", "-m"]
    inputs = {f"inputs/{name}": base / "inputs" / name for name in PICTURES}
    yield Cut("predict", [*predict, "model", "-i", "inputs"], {**inputs, **model}, list(inputs))
    one = {"inputs/p.png": base / "inputs/p.png"}
    yield Cut("predict", [*predict, "model", "-i", "inputs"], {**one, **model},
              [*weights, "model/preprocessor_config.json"])
    yield Cut("predict", [*predict, "model/model.safetensors", "-i", "inputs"], {**one, **model}, weights[1:])
    yield Cut("convert", ["convert", "model/model.safetensors", "out"], model,
              ["model/model.safetensors", "model/preprocessor_config.json"])
    yield Cut("convert", ["convert", "model.pth", "out"], {"model.pth": base / "a.pth"}, ["model.pth"])
    masks = [f"{side}/{name}" for side in ("predicted", "right") for name in ("p_mask.png", "a_mask.nii.gz")]
    scored = {mask: base / "finished/predicted-a" / Path(mask).name for mask in masks}
    evaluate = ["evaluate", "--predictions", "predicted", "-r", "right", "-o", "out/scores.json"]
    yield Cut("evaluate", evaluate, scored, masks)
    yield Cut("verify", ["verify", "data", "-o", "out"], data, [*slices, *index])
    # What is left of a cut configuration is often one, of a larger network: it is not trained here.
    yield Cut("verify", ["verify", "-c", "train.toml"], data, ["train.toml"], lines=True)
    yield Cut("export", ["export", "model", "-o", "out/model.onnx"], model, weights)
    yield Cut("info", ["info", "--json", "model"], model, weights)
    pulled = {"cache": base / "finished/pulled"}
    blobs = [f"cache/models--acme--tiny/blobs/{digest((base / 'a' / name).read_bytes())}" for name in MODEL[:3]]
    cache = {"HF_ENDPOINT": bench.hub.url, "HF_HUB_CACHE": "cache"}
    yield Cut("pull", ["pull", Hub.ID], pulled, blobs, out="cache", env=cache)
    yield Cut("info", ["info", "--json", "--offline", Hub.ID], pulled, blobs, env=cache)


def run(bench, cut, place, file, length):
    """What came of a command with a file cut, and what its folder holds then."""
    for name, source in cut.material.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy(source, target)
    (place / "out").mkdir(exist_ok=True)
    if file:
        (place / file).write_bytes((place / file).read_bytes()[:length])
    code, said, out = end(bench.start(cut.call, cut.env, cwd=place))
    left = {name: found for name, found in tree(place / cut.out).items() if not name.startswith(".locks")}
    return code, said, left or {"stdout": digest(out.encode())}


def judge(bench, cut, place, file, length, right):
    """The faults of one cut; `right` is what the whole input leaves."""
    code, said, left = run(bench, cut, place, file, length)
    names = {Path(file).name}
    if "/blobs/" in file:  # links to it have the names that people know
        links = (place / cut.out if cut.out == "cache" else place / "cache").glob("**/snapshots/*/*")
        names |= {link.name for link in links if link.readlink().name == Path(file).name}
    what = f"{cut.command} with {file if '/blobs/' not in file else 'a blob of the cache'} cut"
    if code not in (0, 1, 2, 3):
        return [f"{what}: exit code {code}"], said
    if cut.lines or (code == 0 and left == right):
        return [], said
    if not any(name in said for name in names):
        return [f"{what}: {'a result without a word' if code == 0 else 'the error does not name it'}"], said
    return [], said


def served(bench, place, name, length, admitted):
    """The faults of a pull whose server sends a part of a file, with the part's length or the whole's."""
    cache = place / "cache"
    bench.hub.main, bench.hub.cut = "a" * 40, (name, length, admitted)
    env = {"HF_ENDPOINT": bench.hub.url, "HF_HUB_CACHE": str(cache)}
    code, said, _ = end(bench.start(["pull", "-q", Hub.ID], env))
    bench.hub.cut = None
    what = f"pull of {name}, which the server cuts"
    faults = []
    if code not in (0, 1):
        faults.append(f"{what}: exit code {code}")
    elif code == 0:
        faults.append(f"{what}: a result without a word")
    elif name not in said:
        faults.append(f"{what}: the error does not name it")
    code, more, _ = end(bench.start(["pull", "-q", Hub.ID], env))
    files = lambda folder: {n: c for n, c in contents(folder).items() if not n.startswith(".locks")}
    if code != 0 or files(cache) != files(bench.folder / "finished/pulled"):
        faults.append(f"{what}: the next pull does not mend it")
    return faults, said + more
