"""Contestants that take turns, and the table of what they took."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# Before each turn: thread pools spin for some milliseconds after their last work.
PAUSE_S = 0.2
# The CPU time that an idle worker may burn, as a share of the time it waits.
IDLE_SHARE = 0.02


class Failure(Exception):
    """Something that the user is told in one line."""


@dataclass
class Turn:
    """One contestant's runs of one round."""

    median_s: float
    min_s: float
    peak_rss_mb: float


@dataclass
class Ours:
    """`unet3p bench`: a process for each turn, which loads, warms up and times itself."""

    binary: Path
    arguments: list
    threads: int
    isa: str | None = None
    device: str = "cpu"
    report: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"unet3p ({self.isa})" if self.isa else "unet3p"

    def run(self, *arguments):
        environment = {**os.environ, "UNET3P_ISA": self.isa} if self.isa else None
        command = [str(self.binary), *map(str, arguments), "--threads", str(self.threads), "--device", self.device]
        try:
            return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        except OSError as error:
            raise Failure(f"{self.binary}: {error.strerror}; build it: cargo build --release") from None
        except subprocess.CalledProcessError as error:
            raise Failure(f"{' '.join(command)}: exit code {error.returncode}: {error.stderr.strip()}") from None

    def turn(self, runs):
        stdout = self.run("bench", *self.arguments, "--runs", runs, "--json")
        try:
            self.report = json.loads(stdout)
            return Turn(*(self.report[key] for key in ("median_s", "min_s", "peak_rss_mb")))
        except (ValueError, KeyError) as error:
            raise Failure(f"{self.name}: bench --json printed {stdout!r}: {error}") from None


class Worker:
    """A peer in a process of its own, which lives through all rounds."""

    def __init__(self, name, **settings):
        self.name = name
        self.idle_since, self.waited, self.burned = None, 0.0, 0.0
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.refused = self.receive().get("refused")

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name}: the worker ended with exit code {self.process.wait()}, see above")
        return json.loads(line)

    def ask(self, **request):
        if self.idle_since is not None:
            self.waited += time.perf_counter() - self.idle_since
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # `receive` tells how the worker ended
        reply = self.receive()
        self.burned += reply.get("idle_cpu_s", 0.0)
        self.idle_since = time.perf_counter()
        return reply

    def turn(self, runs):
        reply = self.ask(runs=runs)
        seconds = reply["seconds"]
        return Turn(statistics.median(seconds), min(seconds), reply["peak_rss_mb"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start(name, settings, workers):
    """Starts a worker and adds it to `workers`, unless this machine cannot run it."""
    note(f"{name}: loading")
    worker = Worker(name, **settings)
    if worker.refused:
        note(f"{name}: left out: {worker.refused}")
        worker.close()
    else:
        workers.append(worker)


def compete(contestants, rounds, runs):
    """Turns by contestant. In each round everyone has one turn, and another one begins."""
    turns = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            time.sleep(PAUSE_S)
            turn = contestant.turn(runs)
            turns[contestant.name].append(turn)
            note(f"round {number + 1}/{rounds}: {contestant.name}: {turn.median_s:.3f} s")
    for worker in contestants:
        if isinstance(worker, Worker) and worker.burned > IDLE_SHARE * worker.waited:
            note(
                f"warning: {worker.name} used {worker.burned:.2f} s of CPU in {worker.waited:.1f} s of waiting: "
                "the others' times are too long"
            )
    return turns


def table(turns, errors=None):
    """The first contestant is what the others are compared with.

    Other work on the machine changes its speed from minute to minute. So the ratio is that of neighbours in time:
    the median of the rounds' ratios, not the ratio of the medians.
    """
    columns = ["contestant", "median s", "min s", "ratio", "peak RSS MB"]
    columns += ["relative L2"] if errors else []
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
    reference = next(iter(turns.values()))
    for name, own in turns.items():
        ratio = statistics.median(mine.median_s / other.median_s for mine, other in zip(own, reference))
        line = [
            name,
            f"{statistics.median(turn.median_s for turn in own):.4f}",
            f"{min(turn.min_s for turn in own):.4f}",
            f"{ratio:.2f}",
            f"{max(turn.peak_rss_mb for turn in own):.0f}",
        ]
        if errors:
            line.append(f"{errors[name]:.1e}" if name in errors else "-")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(ours, packages):
    """Processor, what `unet3p` ran on, and the versions of everyone."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    own = ours[0].run("--version").strip()
    if ours[0].device != "cpu":
        return ", ".join([f"{gpu_name()}; {own}", *versions])
    isas = ", ".join(dict.fromkeys(contestant.report["isa"] for contestant in ours))
    return f"{cpu_name()}, {ours[0].threads} threads; {own} on {isas}; " + ", ".join(versions)


def cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name():
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def note(text):
    print(text, file=sys.stderr, flush=True)


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 1")
    return int(text)


def add_arguments(parser):
    """What both benchmarks take."""
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--runs", type=positive, default=3, help="timed runs a turn (default: 3)")
    parser.add_argument("--threads", type=positive, default=2, help="of each contestant (default: 2)")
    parser.add_argument("--binary", type=Path, default=Path("target/release/unet3p"), help="default: %(default)s")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="a GPU: PyTorch alone is the peer (default: cpu)"
    )
    parser.add_argument(
        "--isa", action="append", help="avx512, avx2 or portable, for unet3p; may be repeated (default: its choice)"
    )
