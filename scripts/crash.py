#!/usr/bin/env python3
"""Kills commands at random moments, fills the disk, cuts inputs and starts several processes at once; then checks that
only whole files exist, that nothing of the user's is lost and that the rerun ends with the same bits.

    scripts/crash.py N [--only COMMAND] [--seed S] [--work DIR]

N kills of train, prepare, predict and pull each, twice as many of convert, and a part of N of everything else. Half of
the kills are spread over the time of an uninterrupted run, half follow a change of the output folder. Inputs and
moments come from the seed. The binary is UNET3P, else target/release/unet3p. Needs Linux and Python 3.11 or later,
nothing else. As root the full disk is a small tmpfs; otherwise a limit on the size of files stands for it. Folders of
faults are kept in DIR/faults; the exit code is 1 with faults.
"""

import argparse
import collections
import dataclasses
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crash_cuts
from crash_commands import SLOWEST, Bench, end, scrub
from crash_data import tree

ROOT = Path(__file__).resolve().parent.parent
KINDS = ["not killed", "kills", "full disks", "several at once", "cut inputs"]


class Report:
    """Counts of trials and faults, and the folders that show them."""

    def __init__(self, folder):
        self.folder = folder
        self.trials = collections.Counter()
        self.faulty = collections.Counter()
        self.faults = collections.Counter()
        self.kept = {}

    def add(self, command, kind, label, faults, place, said):
        self.trials[command, kind] += 1
        self.faulty[command, kind] += bool(faults)
        for fault in set(faults):
            key = command, kind, fault
            self.faults[key] += 1
            if key not in self.kept:
                kept = self.folder / f"{command}-{len(self.kept)}"
                shutil.copytree(place, kept, symlinks=True, dirs_exist_ok=True)
                (kept / "said.txt").write_text(f"{label}\n\n{said}\n\n" + "\n".join(faults) + "\n")
                self.kept[key] = kept

    def print(self):
        commands = sorted({command for command, _ in self.trials})
        print(f"\n{'':10}" + "".join(f"{kind:>20}" for kind in KINDS))
        for command in commands:
            tried = [(self.faulty[command, kind], self.trials[command, kind]) for kind in KINDS]
            cells = (f"{faulty} of {trials} faulty" if trials else "" for faulty, trials in tried)
            print(f"{command:10}" + "".join(f"{cell:>20}" for cell in cells))
        for key, count in sorted(self.faults.items(), key=lambda item: (item[0][:2], -item[1])):
            command, kind, fault = key
            print(f"{command}, {count} of {self.trials[command, kind]} {kind}: {fault}\n    {self.kept[key]}")


def signature(folder):
    """Changes with every file made, written or renamed."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found.append((entry.path, status.st_ino, status.st_size, status.st_mtime_ns))
                if entry.is_dir(follow_symlinks=False):
                    found.append(signature(entry.path))
    except OSError:  # gone in between
        pass
    return tuple(sorted(map(repr, found)))


def follow(process, out, until=float("inf"), watch=None):
    """Counts changes of a folder until the process ends or there were so many."""
    count, last, since = 0, signature(out), time.monotonic()
    started = since
    while process.poll() is None and count < until:
        now = signature(out)
        if now != last:
            count, last, since = count + 1, now, time.monotonic()
        elif watch and time.monotonic() - since > 0.01:
            watch(out)
            since = float("inf")
        if time.monotonic() - started > SLOWEST:
            process.kill()
        time.sleep(0.0002)
    return count


class Crash:
    def __init__(self, bench, work, rng, report):
        self.bench, self.work, self.rng, self.report = bench, work, rng, report

    def start(self, case, call, out, **options):
        case.ready()
        return self.bench.start(call(out), case.env(out), **options)

    def measure(self, case):
        """Two runs to the end: how long one takes, how often its folder changes, and what it leaves, twice the same."""
        for turn in range(2):
            place = self.work / "measured" / "out"
            case.lay(place)
            started = time.monotonic()
            process = self.start(case, case.call, place)
            changes = follow(process, place, watch=case.watch)
            case.watch(place)
            seconds = time.monotonic() - started
            code, said, _ = end(process)
            found = tree(place)
            if code != 0 or (turn and found != case.new):
                odd = {name for name in found.keys() | case.new.keys() if found.get(name) != case.new.get(name)}
                what = f"other bits in {odd}" if turn and code == 0 else said
                raise SystemExit(f"{case.command}, {case.label}, not killed: exit code {code}, {what}")
            case.new, case.near, case.changes = found, case.beside(place), max(changes, case.changes)
            case.seconds = min(seconds, case.seconds or seconds)
            if turn:
                # What is wrong without a kill is told here alone.
                self.report.add(case.command, "not killed", case.label, case.done(place) + modes(place), place, said)
                case.users = tuple(name for name in case.users if (place / name).exists())
            self.size = sum(-(-path.stat().st_size // 4096) * 4096 for path in place.rglob("*") if path.is_file())
            self.largest = max(path.stat().st_size for path in place.rglob("*") if path.is_file())
            shutil.rmtree(place.parent)

    def kill(self, case, call, out):
        """Starts a command and kills it; its exit code, and where in its life that was."""
        if self.rng.random() < 0.5:
            moment = self.rng.uniform(0, case.seconds)
            process = self.start(case, call, out)
            time.sleep(moment)
            where = f"after {moment:.4f} of {case.seconds:.4f} s"
        else:
            change = self.rng.randint(1, case.changes)
            pause = self.rng.choice([0, self.rng.uniform(0, 0.002)])
            process = self.start(case, call, out)
            follow(process, out, change)
            time.sleep(pause)
            where = f"after {change} of {case.changes} changes and {pause:.4f} s"
        process.kill()
        code, said, _ = end(process)
        return code, f"killed {where}, exit code {code}, {said}"

    def again(self, case, out):
        """The rerun and what is wrong with what it leaves."""
        code, said, _ = end(self.start(case, case.again, out))
        if code == 2 and tree(out) == case.new:  # nothing is left to do, and nothing may be written over
            return [], said
        if code != 0:
            return [f"the rerun fails with exit code {code}: {scrub(said, out)}"], said
        return case.done(out), said

    def kills(self, case):
        place = self.work / "case"
        out = place / "out"
        for _ in range(20):
            case.lay(out)
            code, said = self.kill(case, case.call, out)
            if code < 0:
                break
            shutil.rmtree(place)  # it was done before
        else:
            raise SystemExit(f"{case.command}, {case.label}: ends before it can be killed: {said}")
        faults = case.killed(out)
        if self.rng.random() < 0.25:  # the rerun is killed as well
            said += "\n" + self.kill(case, case.again, out)[1]
            faults += case.killed(out)
        if faults:
            shutil.copytree(out, place / "when-killed", symlinks=True)
        wrong, more = self.again(case, out)
        self.report.add(case.command, "kills", case.label, faults + wrong, place, f"{said}\n{more}")
        shutil.rmtree(place)

    def disk(self, case):
        """Runs a command with too little space, checks, gives it space and runs it again."""
        place = self.work / "disk"
        place.mkdir(parents=True)
        out = place / "out"
        mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", place], stderr=subprocess.DEVNULL).returncode == 0
        try:
            case.lay(out)
            # Anywhere, or so that the last and smallest files fail.
            share = self.rng.choice([self.rng.random(), 1 - self.rng.randrange(5) * 4096 / self.size])
            if mounted:
                used = sum(p.stat().st_blocks * 512 for p in out.rglob("*") if p.is_file())
                resize(place, used + 4096 + int(share * self.size))
                process = self.start(case, case.call, out)
            else:
                process = self.start(case, case.call, out, preexec_fn=lambda: limit(int(share * self.largest)))
            code, said, _ = end(process)
            if mounted:
                resize(place, 2**29)
            faults = case.done(out) if code == 0 else case.killed(out)
            if code not in (0, 1, 3):
                faults.append(f"exit code {code} with a full disk")
            elif code and str(place) not in said:
                faults.append(f"the error does not name the file: {scrub(said, out)}")
            wrong, more = self.again(case, out)
            text = f"{share:.2f} of the space, exit code {code}: {said}\n{more}"
            self.report.add(case.command, "full disks", case.label, faults + wrong, place, text)
        finally:
            if mounted:
                subprocess.run(["umount", place], check=True)
        shutil.rmtree(place)

    def together(self, case):
        """Four processes write one folder."""
        place = self.work / "together"
        out = place / "out"
        case.lay(out)
        calls = [case.call, *case.rivals]
        processes = [self.start(case, calls[i % len(calls)], out) for i in range(4)]
        ends = [end(process) for process in processes]
        codes = [code for code, _, _ in ends]
        # With rivals either's files are right, as long as they are of one of them.
        faults = dataclasses.replace(case, exact=False).killed(out) if case.rivals else case.done(out)
        faults += [f"exit code {code}" for code in codes if code not in (0, 1, 2, 3)]
        faults += ["a process fails without a word" for code, said, _ in ends if code and not said.strip()]
        won = codes.count(0)
        if {"one": won != 1, "some": won == 0, "all": won != 4}[case.winners]:
            faults.append(f"{won} of 4 processes succeed, not {case.winners}")
        faults += ["a temporary file is left over" for path in out.rglob(".*tmp*")]
        said = "\n".join(f"exit code {code}: {said}" for code, said, _ in ends)
        self.report.add(case.command, "several at once", case.label, faults, place, said)
        shutil.rmtree(place)

    def cuts(self, count, only):
        for cut in crash_cuts.cuts(self.bench):
            if only and cut.command != only:
                continue
            place = self.work / "cut"
            self.bench.hub.main = "a" * 40
            code, said, right = crash_cuts.run(self.bench, cut, place, None, 0)
            if code != 0:
                raise SystemExit(f"{cut.call}: exit code {code} with whole inputs: {said}")
            for file in cut.files:
                content = (place / file).read_bytes()
                size = len(content.rstrip() if content.startswith(b"{") else content)
                for _ in range(count):
                    spot = self.work / "cut-short"
                    length = self.rng.choice([0, self.rng.randrange(size), self.rng.randrange(size), size - 1])
                    faults, said = crash_cuts.judge(self.bench, cut, spot, file, length, right)
                    label = f"{' '.join(cut.call)}: {file}, {length} of {size} bytes"
                    self.report.add(cut.command, "cut inputs", label, faults, spot, said)
                    shutil.rmtree(spot)
            shutil.rmtree(place)
        if only in (None, "pull"):
            for name in ("config.json", "model.safetensors"):
                for admitted in (True, False):
                    spot = self.work / "cut-short"
                    spot.mkdir()
                    size = (self.bench.folder / "a" / name).stat().st_size
                    length = self.rng.randrange(size)
                    faults, said = crash_cuts.served(self.bench, spot, name, length, admitted)
                    label = f"{name}, {length} of {size} bytes, {admitted=}"
                    self.report.add("pull", "cut inputs", label, faults, spot, said)
                    shutil.rmtree(spot)


def modes(out):
    """Files that not everybody may read whom the umask lets."""
    mask = os.umask(0)
    os.umask(mask)
    paths = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    odd = {f"{path.name} has mode {mode:o}" for path in paths if (mode := path.stat().st_mode & 0o777) != 0o666 & ~mask}
    return sorted(odd)


def resize(place, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


def limit(size):
    """In the child: writing beyond a size is an error, as on a full disk, and no signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, metavar="N")
    commands = ["train", "prepare", "predict", "convert", "pull", "evaluate", "verify", "export", "info"]
    parser.add_argument("--only", choices=commands)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    binary = Path(os.environ.get("UNET3P", ROOT / "target/release/unet3p")).resolve()
    work = (args.work or Path(tempfile.mkdtemp(prefix="unet3p-crash-"))).resolve()
    print(f"{binary}, seed {args.seed}, in {work}", flush=True)
    rng, report = random.Random(args.seed), Report(work / "faults")
    crash = Crash(Bench(binary, work / "bench", rng), work, rng, report)
    some = args.count // 3 + 1
    for name, cases in crash.bench.cases().items():
        if args.only not in (None, name):
            continue
        cases = list(cases())
        kills = args.count * (2 if name == "convert" else 1)
        started = time.monotonic()
        for place, case in enumerate(cases):
            crash.measure(case)
            for act, count in ((crash.kills, kills), (crash.disk, some), (crash.together, some)):
                for _ in range(place, count, len(cases)):
                    act(case)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    crash.cuts(some, args.only)
    print(f"cut inputs: {time.monotonic() - started:.0f} s", flush=True)
    report.print()
    shutil.rmtree(work / "bench")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
