"""Reads the file of an offline run of Weights & Biases, and prints as JSON what is in it.

The file is a log of blocks as LevelDB has them: a header of 7 bytes, then blocks of 32 KiB, in which records are cut into pieces, each with a
checksum, a length and a kind. The records are the SDK's own messages.
"""

import json
import struct
import sys
import zlib

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32 * 1024
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(data):
    """The records of a file; an error where it is damaged."""
    assert data[:4] == b":W&B", "this is no run file"
    position, pieces = 7, []
    while position < len(data):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, position)
        payload = data[position + 7 : position + 7 + length]
        assert len(payload) == length, "the file ends in the middle of a record"
        assert zlib.crc32(payload, zlib.crc32(bytes([kind]))) == checksum, f"damaged at {position}"
        position += 7 + length
        if kind in (FULL, FIRST):
            pieces = []
        pieces.append(payload)
        if kind in (FULL, LAST):
            yield Record.FromString(b"".join(pieces))


def values(items):
    """Keys and values as the SDK writes them."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    found = {"history": [], "summary": {}, "config": {}, "artifacts": [], "exit_code": None}
    for record in records(data):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["project"], found["name"] = record.run.project, record.run.display_name
            found["config"].update(values(record.run.config.update))
        elif kind == "config":
            found["config"].update(values(record.config.update))
        elif kind == "history":
            found["history"].append(values(record.history.item))
        elif kind == "summary":
            found["summary"].update(values(record.summary.update))
        elif kind == "artifact":
            names = [entry.path for entry in record.artifact.manifest.contents]
            found["artifacts"].append({"name": record.artifact.name, "type": record.artifact.type, "files": names})
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    print(json.dumps(found))


main(sys.argv[1])
