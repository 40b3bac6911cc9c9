# SPDX-License-Identifier: Apache-2.0
"""An exec handler: JSON lines in, JSON lines out (docs/PROTOCOL.md). Makes a PNG thumbnail of a binary PPM image.

payload: {"image": base64 of a P6 file, "max": longest side in pixels, 64 when absent}
result:  {"png": base64, "width": w, "height": h}
"""
import base64
import binascii
import json
import struct
import sys
import zlib


def read_ppm(data):
    """Width, height and RGB bytes of a P6 file with 8-bit samples."""
    fields, at = [], 0
    while len(fields) < 4:
        while at < len(data) and data[at:at + 1].isspace():
            at += 1
        if data[at:at + 1] == b"#":
            at = data.index(b"\n", at)
            continue
        end = at
        while end < len(data) and not data[end:end + 1].isspace():
            end += 1
        if end == at:
            raise ValueError("the image ends in its header")
        fields.append(data[at:end])
        at = end
    if fields[0] != b"P6" or fields[3] != b"255":
        raise ValueError("not a P6 image with 8-bit samples")
    width, height = int(fields[1]), int(fields[2])
    pixels = data[at + 1:]
    if not 0 < width <= 10000 or not 0 < height <= 10000 or len(pixels) < width * height * 3:
        raise ValueError("the image's size does not fit its data")
    return width, height, pixels


def shrink(width, height, pixels, longest, progress):
    """Averages boxes of pixels; returns the new width, height and RGB rows."""
    scale = max(1, -(-max(width, height) // longest))
    new_width, new_height = max(1, width // scale), max(1, height // scale)
    rows = []
    for y in range(new_height):
        row = bytearray()
        for x in range(new_width):
            box = [((y * scale + j) * width + x * scale + i) * 3
                   for j in range(scale) if y * scale + j < height
                   for i in range(scale) if x * scale + i < width]
            row += bytes(sum(pixels[at + c] for at in box) // len(box) for c in range(3))
        rows.append(bytes(row))
        if y % 16 == 15:
            progress((y + 1) / new_height)
    return new_width, new_height, rows


def png(width, height, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def say(**line):
    print(json.dumps(line), flush=True)


def run(job):
    ident, payload = job["job"], job["payload"]
    try:
        image = base64.b64decode(payload["image"], validate=True)
        longest = int(payload.get("max", 64))
        if not 1 <= longest <= 4096:
            raise ValueError("max must be 1 to 4096")
        width, height, pixels = read_ppm(image)
    except (ValueError, TypeError, binascii.Error) as error:
        say(job=ident, discard=f"bad image: {error}")
        return
    width, height, rows = shrink(width, height, pixels, longest,
                                 lambda part: say(job=ident, progress=part, note="resizing"))
    say(job=ident, done={"png": base64.b64encode(png(width, height, rows)).decode(), "width": width, "height": height})


for text in sys.stdin:
    message = json.loads(text)
    if "payload" in message:
        run(message)
