"""What `scripts/crash.py` works on: seeded inputs, a Hub on this machine, and a judge of whole files. Standard library
alone."""

import array
import csv
import gzip
import hashlib
import http.server
import io
import json
import math
import re
import struct
import threading
import time
import tomllib
import zipfile
import zlib


# ---- inputs ----

def png(pixels, width, channels=1):
    """An 8-bit PNG, gray or RGB, of rows without filters."""
    stride = width * channels
    rows = b"".join(b"\0" + bytes(pixels[i:i + stride]) for i in range(0, len(pixels), stride))
    head = struct.pack(">IIBBBBB", width, len(pixels) // stride, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def nifti(values, shape, kind):
    """A NIfTI-1 volume of 2 mm voxels, `kind` an array's type code: `h` or `B`."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, {"B": 2, "h": 4}[kind], {"B": 8, "h": 16}[kind])
    struct.pack_into("<8f", head, 76, 1, 2, 2, 2, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 1, 0)
    head[123] = 2  # mm
    struct.pack_into("<2h", head, 252, 0, 1)  # sform alone
    struct.pack_into("<12f", head, 280, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0)
    head[344:348] = b"n+1\0"
    return bytes(head) + array.array(kind, values).tobytes()


def npy(values, shape):
    """A float32 array."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + array.array("f", values).tobytes()


def tiff(pixels, width):
    """An uncompressed gray TIFF of one strip."""
    entries = [(256, 4, width), (257, 4, len(pixels) // width), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
               (277, 3, 1), (278, 4, len(pixels) // width), (279, 4, len(pixels))]
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    directory = struct.pack("<H", len(entries)) + tags + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + bytes(pixels) + directory


def disc(rng, width, height, low, high):
    """Noise with a brighter disc, and the disc's mask."""
    x0, y0, r = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height, rng.uniform(0.2, 0.3) * width
    inside = [int(math.hypot(x - x0, y - y0) < r) for y in range(height) for x in range(width)]
    span = high - low
    return [int(low + span * (0.2 + 0.5 * i + 0.3 * rng.random())) for i in inside], inside


def read_safetensors(data):
    """Header and tensors' bytes of a safetensors file; an error where they do not cover it exactly."""
    length = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + length])
    tensors = {name: entry for name, entry in head.items() if name != "__metadata__"}
    at = 0
    for start, end in sorted(entry["data_offsets"] for entry in tensors.values()):
        if start != at:
            raise ValueError("tensors with a gap")
        at = end
    if len(data) != 8 + length + at:
        raise ValueError("another length than its header's")
    body = data[8 + length:]
    return head, {name: body[slice(*entry["data_offsets"])] for name, entry in tensors.items()}


def pth(weights):
    """A safetensors file's tensors as `torch.save` of a state dictionary writes them: a pickle of protocol 2 in a zip
    archive, written out by hand."""
    head, data = read_safetensors(weights)
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()
    number = lambda n: b"J" + struct.pack("<i", n)
    several = lambda *parts: b"(" + b"".join(parts) + b"t"
    program = b"\x80\x02}("
    for key, name in enumerate(data):
        shape = head[name]["shape"]
        strides = [math.prod(shape[i + 1:]) for i in range(len(shape))]
        storage = several(text("storage"), b"ctorch\nFloatStorage\n", text(str(key)), text("cpu"),
                          number(math.prod(shape)))
        arguments = (storage + b"Q", number(0), several(*map(number, shape)), several(*map(number, strides)), b"\x89",
                     b"ccollections\nOrderedDict\n)R")
        program += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + several(*arguments) + b"R"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model/data.pkl", program + b"u.")
        for key, name in enumerate(data):
            archive.writestr(f"model/data/{key}", data[name])
        archive.writestr("model/version", "3\n")
    return out.getvalue()


# ---- whole files ----

def whole(path):
    """Raises where a file is not whole, by the kind that its name says. Logs that grow and unknown kinds pass."""
    data, name = path.read_bytes(), path.name
    if name.endswith(".png"):
        whole_png(data)
    elif name.endswith((".nii", ".nii.gz")):
        volume = gzip.decompress(data) if name.endswith(".gz") else data
        rank, *shape = struct.unpack_from("<8h", volume, 40)
        bits, offset = struct.unpack_from("<h", volume, 72)[0], struct.unpack_from("<f", volume, 108)[0]
        expect(len(volume) == int(offset) + math.prod(shape[:rank]) * bits // 8, "another length than its header's")
    elif name.endswith(".npy"):
        length = struct.unpack_from("<H", data, 8)[0]
        shape = eval(data[10:10 + length], {"__builtins__": {}})["shape"]
        expect(len(data) == 10 + length + 4 * math.prod(shape), "another length than its header's")
    elif name.endswith(".json"):
        json.loads(data)
    elif name.endswith(".safetensors"):
        read_safetensors(data)
    elif name.endswith(".toml"):
        expect(data.endswith(b"\n"), "ends within a line")
        tomllib.loads(data.decode())
    elif name.endswith(".csv"):
        expect(data.endswith(b"\n"), "ends within a line")
        expect(len({len(row) for row in csv.reader(data.decode().splitlines())}) == 1, "rows of different lengths")
    elif name.endswith(".html"):
        expect(data.rstrip().endswith(b"</html>"), "ends before </html>")
    elif name == "README.md":
        expect(data.startswith(b"---\n") and data.count(b"\n---\n") >= 1 and data.endswith(b"\n"), "is cut")


def whole_png(data):
    expect(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG")
    at, pixels, kind = 8, b"", b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        expect(struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body), "a chunk's checksum")
        pixels += body if kind == b"IDAT" else b""
        at += 12 + length
    expect(at == len(data), "bytes after its end")
    zlib.decompress(pixels)


def expect(truth, problem):
    if not truth:
        raise ValueError(problem)


def settled(path):
    """A file's content without what depends on the clock, to be compared with that of another run."""
    data, name = path.read_bytes(), path.name
    if name == "predictions.json":
        record = json.loads(data)
        for entry in record["predictions"]:
            entry.pop("seconds", None)
        return json.dumps(record).encode()
    if name == "metrics.csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        for row in rows:
            row.pop("images_per_second", None)
        return json.dumps(rows).encode()
    if name == "report.html":
        return re.sub(rb"images_per_second.*?</tr>|steps in [\d:]+", b"", data, flags=re.DOTALL)
    if name.startswith("checkpoint.") and name.endswith(".safetensors"):
        head, tensors = read_safetensors(data)
        told = re.sub(r'"seconds":[^,}]*', "", json.dumps(head["__metadata__"], sort_keys=True).replace("\\", ""))
        return repr((told, [(name, digest(tensors[name])) for name in sorted(tensors)])).encode()
    return data


def tree(folder):
    """Digests of all files below a folder by their names; links by where they point."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and ".tfevents." not in name:
            try:
                found[name] = digest(settled(path))
            except Exception as problem:  # what is not whole equals nothing
                found[name] = f"damaged: {problem}"
    return found


# ---- a Hub ----

class Hub:
    """Serves versions of one repository with the Hub's paths, headers and redirects, slowly enough to be cut off."""

    ID = "acme/tiny"
    CHUNKS = 6
    PAUSE = 0.01

    def __init__(self, versions):
        self.versions = versions  # commit: {name: content}
        self.main = next(iter(versions))
        self.cut = None  # how much of a file is sent, by name: (name, bytes, whether its length is admitted)
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    hub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request):
        path = request.path.split("?")[0]
        info, resolve = f"/api/models/{self.ID}/revision/", f"/{self.ID}/resolve/"
        if path.startswith(info):
            commit = self.commit(path[len(info):])
            files = [{"rfilename": name} for name in self.versions[commit]]
            return self.send(request, 200, {}, json.dumps({"id": self.ID, "sha": commit, "siblings": files}).encode())
        if path.startswith(resolve):
            commit, name = path[len(resolve):].split("/", 1)
            commit = self.commit(commit)
            content = self.versions[commit].get(name)
            if content is None:
                return self.send(request, 404, {}, b"")
            head = {"X-Repo-Commit": commit, "Location": f"/small/{commit}/{name}"}
            if name.endswith(".safetensors"):
                head = {"X-Repo-Commit": commit, "Location": f"/storage/{commit}/{name}",
                        "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest(content)}"'}
            return self.send(request, 302 if name.endswith(".safetensors") else 307, head, b"")
        if path.startswith(("/small/", "/storage/")):
            commit, name = path.split("/", 2)[2].split("/", 1)
            return self.content(request, name, self.versions[commit][name])
        return self.send(request, 404, {}, b"")

    def commit(self, revision):
        return self.main if revision == "main" else revision

    def content(self, request, name, content):
        head, start, total, length = {"ETag": f'"{digest(content)}"'}, 0, len(content), None
        if self.cut and self.cut[0] == name:
            content = content[:self.cut[1]]
            total = len(content) if self.cut[2] else total
            length = total
        status, span = 200, request.headers.get("Range")
        if span:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < total else 416
            head["Content-Range"] = f"bytes {start}-{total - 1}/{total}" if status == 206 else f"bytes */{total}"
        self.send(request, status, head, content[start:], None if length is None else length - start)

    def send(self, request, status, head, body, length=None):
        request.send_response(status)
        head = {**head, "Connection": "close", "Content-Length": len(body) if length is None else length}
        for name, value in head.items():
            request.send_header(name, str(value))
        request.end_headers()
        if request.command == "HEAD":
            return
        step = max(1, -(-len(body) // self.CHUNKS))
        for at in range(0, len(body), step):
            request.wfile.write(body[at:at + step])
            request.wfile.flush()
            time.sleep(self.PAUSE if len(body) > 10_000 else 0)


def digest(content):
    return hashlib.sha256(content).hexdigest()
