"""The commands that `scripts/crash.py` kills: what lies there before, how they are called, and what must hold whatever
moment they end at."""

import gzip
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from crash_data import Hub, digest, disc, nifti, npy, png, pth, tiff, tree, whole

MODEL = ["config.json", "model.safetensors", "preprocessor_config.json", "README.md"]
KEPT = b"Not the program's. It must stay.\n"
SLOWEST = 60  # seconds after which a command hangs
CLASSES = {"a": "disc", "b": "lesion", "c": "rim"}


@dataclass
class Case:
    """A command over what an earlier one left, or over nothing."""

    command: str
    label: str
    call: Callable[[Path], list]  # the arguments, for an output folder
    again: Callable[[Path], list]  # the arguments that mend what was killed
    before: dict = field(default_factory=dict)  # what lies in the output: contents or links by name
    old: dict = field(default_factory=dict)  # the digests of the program's files among it
    check: Callable[[Path], list] = lambda out: []
    exact: bool = True  # files only ever have the old or the new content
    users: tuple = ("notes.txt", "own/notes.txt")  # files that are not the program's
    optional: str = r"(?!)"  # names that may be there or not
    winners: str = "one"  # of several processes: one, some (at least one) or all
    env: Callable[[Path], dict] = lambda out: {}
    ready: Callable[[], None] = lambda: None  # before it is called for the first time
    watch: Callable[[Path], None] = lambda out: None  # called while nothing changes, in a run that is not killed
    rivals: list = field(default_factory=list)  # other arguments that write the same folder
    new: dict = field(default_factory=dict)  # what an uninterrupted run leaves; measured
    near: set = field(default_factory=set)  # what it leaves beside the folder; measured
    seconds: float = 0.0
    changes: int = 1

    def lay(self, out):
        if self.before or self.users:
            out.mkdir(parents=True)
        for name, content in {**self.before, **{name: KEPT for name in self.users}}.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(content) if isinstance(content, Path) else path.write_bytes(content)

    def killed(self, out):
        """What is wrong with what a killed command left."""
        faults = [f"{name} of the user's is lost" for name in self.users
                  if not (out / name).is_file() or (out / name).read_bytes() != KEPT]
        for name, found in tree(out).items():
            path = out / name
            hidden = any(part.startswith(".") for part in Path(name).parts) or name.endswith(".incomplete")
            if hidden or name in self.users or path.is_symlink():
                continue
            try:
                whole(path)
            except Exception as problem:
                faults.append(f"{name} is not whole: {problem}")
                continue
            known = {versions[name] for versions in (self.old, self.new) if name in versions}
            # A record may tell of inputs that failed.
            if self.exact and known and found not in known and name != "predictions.json":
                faults.append(f"{name} is neither the old nor the new one")
        return faults + self.check(out)

    @staticmethod
    def beside(out):
        """What lies beside the output, where a command may have put something for a while."""
        return {path.name for path in out.parent.iterdir()} - {out.name, "when-killed"}

    def done(self, out):
        """What is wrong after the rerun: all must be as after a run that was not interrupted."""
        found = tree(out)
        differ = [name for name in found.keys() & self.new.keys() if found[name] != self.new[name]]
        over = [name for name in found.keys() - self.new.keys() if not re.search(self.optional, name)]
        faults = [f"after the rerun {name} differs" for name in differ]
        over += [f"{name} beside the folder" for name in self.beside(out) - self.near]
        over = {re.sub(r"(?<=\.tmp)\w{6}|(?<=unet3p-)\w{6}", "*", name) for name in over}
        faults += [f"after the rerun {name} is left over" for name in over]
        faults += [f"after the rerun {name} is missing" for name in self.new.keys() - found.keys()]
        return faults + self.killed(out)


class Bench:
    """The program, its inputs and a Hub."""

    def __init__(self, binary, folder, rng):
        self.binary, self.folder, self.rng = binary, folder, rng
        folder.mkdir(parents=True)
        self.volumes()
        self.run("prepare", "folder", *self.pairs(), "-o", folder / "data", "--validate-on", "c")
        self.config = folder / "train.toml"
        self.config.write_text(self.toml(folder / "data", "[8, 16, 16, 16, 16]", 4))
        self.models()
        self.hub = Hub({c * 40: {n: (folder / v / n).read_bytes() for n in MODEL} for c, v in zip("ab", "ab")})
        self.continues = "--continue" in self.run("predict", "--help").stdout

    def start(self, arguments, env, **options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "UNET3P_"))}
        return subprocess.Popen([str(a) for a in (self.binary, *arguments)], env={**environment, **env}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def run(self, *arguments):
        """Runs a command that must not fail."""
        process = self.start(arguments, {})
        out, err = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, arguments))}: exit code {process.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(arguments, 0, out, err)

    def volumes(self):
        """Three pairs of volumes, and images of every kind."""
        (self.folder / "pairs/images").mkdir(parents=True)
        (self.folder / "pairs/labels").mkdir()
        (self.folder / "inputs").mkdir()
        for name, ending in (("a", ".nii"), ("b", ".nii.gz"), ("c", ".nii.gz")):
            slices = [disc(self.rng, 32, 32, -300, 300) for _ in range(4)]
            pack = (lambda data: gzip.compress(data, mtime=0)) if ending == ".nii.gz" else bytes
            for kind, code, part in (("images", "h", 0), ("labels", "B", 1)):
                volume = nifti([v for pair in slices for v in pair[part]], (32, 32, 4), code)
                (self.folder / f"pairs/{kind}/{name}{ending}").write_bytes(pack(volume))
        for name in ("a.nii", "b.nii.gz"):
            shutil.copy(self.folder / "pairs/images" / name, self.folder / "inputs")
        picture, _ = disc(self.rng, 48, 48, 0, 255)
        (self.folder / "inputs/p.png").write_bytes(png(picture, 48))
        (self.folder / "inputs/t.tif").write_bytes(tiff(bytes(picture), 48))
        (self.folder / "inputs/n.npy").write_bytes(npy([v / 255 for v in picture] * 3, (1, 3, 48, 48)))

    def models(self):
        """Model folders that differ in everything, but for the shapes of b and c: their files fit each other, so that a
        mixture of the two gives no error by itself."""
        shape = ["model.num_classes=2", "model.filters=[12,16,16,16,16]"]
        b = [*shape, "model.activation=softmax", 'model.class_names=["lesion"]', "train.seed=1",
             "loss.segmentation=dice_cross_entropy"]
        c = [*shape, 'model.class_names=["rim", "core"]', "train.seed=2"]
        for version, keys in (("a", []), ("b", b), ("c", c)):
            run = self.folder / f"run-{version}"
            sets = [part for key in ["train.epochs=1", *keys] for part in ("--set", key)]
            self.run("train", "-q", "-c", self.config, "-o", run, *sets)
            model = self.folder / version
            self.run("convert", "-q", run / "last/model.safetensors", model)
            preprocessor = json.loads((run / "last/preprocessor_config.json").read_bytes())
            preprocessor["window"] = {"a": [-200.0, 250.0], "b": [-100.0, 300.0], "c": [0.0, 80.0]}[version]
            (model / "preprocessor_config.json").write_text(json.dumps(preprocessor))
        (self.folder / "a.pth").write_bytes(pth((self.folder / "a/model.safetensors").read_bytes()))

    @staticmethod
    def toml(data, filters, epochs):
        return (f'[data]\npaths = ["{data}"]\n[model]\nfilters = {filters}\n[train]\nepochs = {epochs}\n'
                "batch_size = 2\ncheckpoint_every = 3\nstatistics_batches = 2\nwarm_up = 2\n")

    def pairs(self, folder=None):
        folder = folder or self.folder / "pairs"
        return "--images", folder / "images", "--labels", folder / "labels", "--class", "disc=1", "--regions"

    def label(self, model):
        """Which version `info` reads in a model folder, or what it complains of."""
        process = self.start(["info", "--json", model, "--offline"], {"HF_HUB_CACHE": str(Path(model).parent)})
        out, err = process.communicate()
        if process.returncode != 0 or err:
            return None, err.strip()
        return json.loads(out)["config"]["id2label"].get("1"), ""

    # ---- the commands ----

    def cases(self):
        return {"train": self.train, "prepare": self.prepare, "predict": self.predict, "convert": self.convert,
                "pull": self.pull}

    def finished(self, name, arguments):
        """The files of a run to its end, made once."""
        out = self.folder / "finished" / name
        if not out.exists():
            self.run(*arguments(out))
        return contents(out), tree(out)

    def train(self):
        call = lambda out: ["train", "-q", "--threads", "2", "-c", self.config, "-o", out]
        resume = lambda out: ["train", "-q", "--threads", "2", "--resume", out]
        again = lambda out: resume(out) if (out / "config.toml").exists() else call(out)
        seen = set()
        read = lambda path: digest(path.read_bytes()) if path.exists() else ""
        state = lambda out, part: tuple(read(out / part / name) for name in MODEL)
        watch = lambda out: seen.update(state(out, part) for part in ("best", "last"))

        def check(there, out):
            faults = []
            for part in ("best", "last"):
                found = state(out, part)
                missing = [name for name, value in zip(MODEL, found) if not value]
                if there and not any(found):
                    faults.append(f"{part}/ is gone until the rerun")
                elif any(found) and missing:
                    faults.append(f"{part}/ lacks {', '.join(missing)}")
                elif any(found) and found not in seen:
                    faults.append(f"{part}/ is mixed: weights and card of different epochs")
                if any(found) and self.label(out / part)[0] != "disc":
                    faults.append(f"{part}/ cannot be loaded: {scrub(self.label(out / part)[1], out)}")
            return faults

        yield Case("train", "a new run", call, again, check=lambda out: check(False, out), exact=False, watch=watch)
        before, old = self.finished("trained", lambda out: [*call(out), "--set", "train.epochs=2"])
        longer = lambda out: [*resume(out), "--set", "train.epochs=5"]
        watch(self.folder / "finished/trained")
        yield Case("train", "a longer run", longer, longer, before, old, check=lambda out: check(True, out),
                   exact=False, watch=watch, winners="some",
                   users=("notes.txt", "own/notes.txt", "best/notes.txt", "last/notes.txt"))

    def prepare(self):
        call = lambda out: ["prepare", "folder", "-q", *self.pairs(), "-o", out, "--validate-on", "c"]
        other = lambda out: ["prepare", "folder", "-q", *self.pairs(), "-o", out, "--window=-100,100", "--spacing", "4"]
        before, old = self.finished("prepared", other)
        over = lambda out: [*call(out), "--overwrite"]

        def check(versions, out):
            if not (out / "dataset.json").exists():
                return []
            found = tree(out)
            version = next((v for v in versions if v["dataset.json"] == found["dataset.json"]), {})
            slices = [name for name in version if re.match("(images|masks|regions)/.*_z", name)]
            strange = any(found.get(name) != version[name] for name in slices)
            return ["dataset.json stands beside slices of another run"] if strange else []

        fresh = Case("prepare", "a new folder", call, call)
        fresh.check = lambda out: check([v for v in (fresh.new,) if v], out)
        yield fresh
        replaced = Case("prepare", "over another preparation", over, over, before, old, winners="some",
                        users=("notes.txt", "images/own.txt", "own/notes.txt"))
        replaced.check = lambda out: check([v for v in (old, replaced.new) if v], out)
        yield replaced

    def predict(self):
        call = lambda v: lambda out: ["predict", "-q", "-i", self.folder / "inputs", "-o", out, "-m", self.folder / v,
                                      "--overlay", "--save-probabilities"]
        over = lambda v: lambda out: [*call(v)(out), "--overwrite"]
        more = (lambda out: [*call("b")(out), "--continue"]) if self.continues else over("b")
        of = {v: self.finished(f"predicted-{v}", call(v)) for v in "ab"}

        def check(out):
            """Every entry of the record stands beside outputs of its own run."""
            if not (out / "predictions.json").exists():
                return []
            record = json.loads((out / "predictions.json").read_bytes())
            version, found = Path(record["model"]).name, tree(out)
            names = [n for entry in record["predictions"] for n in entry.get("outputs", {}).values()]
            strange = [n for n in names if found.get(n) != of[version][1][n]]
            return ["predictions.json stands beside outputs of another run"] if strange else []

        yield Case("predict", "a new folder", call("b"), more, check=check, rivals=[call("a")])
        yield Case("predict", "over another model's", over("b"), over("b"), *of["a"], check=check, winners="some",
                   rivals=[over("a")])

    def convert(self):
        call = lambda v: lambda out: ["convert", "-q", self.folder / v / "model.safetensors", out]
        over = lambda v: lambda out: [*call(v)(out), "--overwrite"]
        of = {v: self.finished(f"converted-{v}", call(v)) for v in CLASSES}

        def check(readme, out):
            found = tree(out)
            if not any(name in found for name in MODEL[:3]):
                return [] if not readme else ["the model folder is empty"]
            mine = [name for name in MODEL if not (readme == "kept" and name == "README.md")]
            version = {name: next((v for v in of if found.get(name) == of[v][1][name]), "none") for name in mine}
            missing = [name for name in mine if name not in found]
            if missing:
                return [f"the model folder lacks {', '.join(missing)}"]
            loaded, complaint = self.label(out)
            if len(set(version.values())) > 1:
                odd = [name for name in mine if version[name] != version["model.safetensors"]]
                how = "loads without a complaint" if loaded else "loads with a complaint or not at all"
                return [f"mixed model folder that {how}: the weights are of one version, {', '.join(odd)} of the other"]
            if CLASSES[version["config.json"]] != loaded:
                return [f"the model folder cannot be loaded: {scrub(complaint, out)}"]
            return []

        yield Case("convert", "a new folder", call("a"), over("a"), check=lambda out: check("", out),
                   rivals=[call("b")])
        for old, new in ("ab", "bc", "cb"):
            yield Case("convert", f"{new} over {old}", over(new), over(new), *of[old], optional=r"\.old$",
                       winners="some", check=lambda out: check("replaced", out), rivals=[over(old)])
        before = {name: content for name, content in of["a"][0].items() if name != "README.md"}
        yield Case("convert", "beside a card of the user's", over("b"), over("b"), before, of["a"][1],
                   optional=r"\.old$", winners="some", check=lambda out: check("kept", out), rivals=[over("a")],
                   users=("notes.txt", "own/notes.txt", "README.md"))

    def pull(self):
        call = lambda out: ["pull", "-q", Hub.ID]
        env = lambda out: {"HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(out), "NO_PROXY": "127.0.0.1"}
        folder = "models--acme--tiny"
        cache = self.folder / "finished/pulled"
        process = self.start(call(cache), env(cache))
        if process.wait() != 0:
            raise SystemExit(f"pull: {process.stderr.read()}")
        before = contents(cache)

        def check(there, out):
            faults = [f"blobs/{path.name} is not its content" for path in (out / folder).glob("blobs/*")
                      if "." not in path.name and digest(path.read_bytes()) != path.name]
            for link in (out / folder).glob("snapshots/*/*"):
                if not link.exists():
                    faults.append(f"{link.name} of a snapshot points nowhere")
            loaded, complaint = self.label_of(out)
            if there and loaded not in CLASSES.values():
                faults.append(f"the cache served offline before, and does not: {scrub(complaint, out)}")
            return faults

        users = ("notes.txt", f"{folder}/notes.txt", "models--acme--other/notes.txt")
        names = lambda commit: lambda: setattr(self.hub, "main", commit * 40)
        yield Case("pull", "an empty cache", call, call, env=env, users=users, ready=names("a"), winners="all",
                   check=lambda out: check(False, out), optional=r"^\.locks/")
        yield Case("pull", "a newer commit", call, call, before, tree(cache), env=env, users=users, ready=names("b"),
                   winners="all", check=lambda out: check(True, out), optional=r"^\.locks/")

    def label_of(self, cache):
        process = self.start(["info", "--json", "--offline", Hub.ID], {"HF_HUB_CACHE": str(cache)})
        out, err = process.communicate()
        return (json.loads(out)["config"]["id2label"].get("1"), "") if process.returncode == 0 else (None, err)


def end(process):
    """Exit code, messages and standard output of a process that ends in time; one that hangs is killed."""
    try:
        out, err = process.communicate(timeout=SLOWEST)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"(it hangs: killed after {SLOWEST} s)"
    return process.returncode, out + err, out


def contents(folder):
    """What lies below a folder: contents, and where links point, by names."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()]
    return {str(p.relative_to(folder)): p.readlink() if p.is_symlink() else p.read_bytes() for p in paths}


def scrub(message, out):
    """A message without the folder's name, so that equal faults are counted as one."""
    return re.sub(r"\s+", " ", message.replace(str(out), "OUT"))[:200]
