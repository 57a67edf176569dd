"""Writes results directories of an older kit with numpy: one that is good, and others that are each broken in one way.

usage: write_kit.py DIRECTORY. Prints a line of JSON: what is expected of each, {name: [[end, reason], ...]}.
"""

import json
import pathlib
import sys

import numpy

SAMPLES = 6
PROFILE = "profile_100_flows_pkt_size_64B_100_rate_sd"
NAME = "3b9d11f0_{0}0_{0}_txcores_1-2_rxcores_1,2_spec_{1}_20300102_030405.npz"
RATES = ["mbits_tx", "pkts_tx", "obytes", "opackets", "imissed", "oerrors", "rx_nombuf", "pkts_rx", "mbits_rx", "ipackets", "ibytes", "ierrors"]
PORT = ["rx_nombuf", "opackets", "imissed", "ierrors", "ibytes", "oerrors", "obytes", "ipackets"]
KEYS = {
    "tx": RATES + ["port_" + key for key in PORT],
    "rx": ["rx_pps", "tx_pps", "rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_errors", "rx_missed", "rx_nombuf"],
}
NEEDED = {"tx": ["pkts_tx", "obytes", "opackets", "port_obytes"], "rx": ["rx_pps", "tx_pps", "rx_bytes", "rx_packets"]}


def arrays(end):
    return {key: numpy.arange(SAMPLES, dtype=numpy.int64) * 1000 for key in KEYS[end]}


def write(directory, change=lambda end, arrays: None, save=numpy.savez):
    """Both ends' files of a pair; `change` does something to the arrays first. Returns the files by end."""
    place = directory / "tx0-rx0" / PROFILE
    place.mkdir(parents=True)
    (place / "metadata.txt").write_text("expid=3b9d11f0\n")
    files = {}
    for end in KEYS:
        data = arrays(end)
        change(end, data)
        files[end] = place / NAME.format(end, PROFILE)
        save(files[end], **data)
    return files


def setting(end, key, value):
    def change(of, data):
        if of == end:
            data[key] = value

    return change


def main():
    root, expected = pathlib.Path(sys.argv[1]), {}

    def case(name, problems, *arguments, **options):
        expected[name] = problems
        return write(root / name, *arguments, **options)

    case("good", [])
    case("good-compressed", [], save=numpy.savez_compressed)
    case("good-floats", [], setting("rx", "rx_pps", numpy.linspace(0, 1, SAMPLES)))
    case("not-needed", [], lambda end, data: data.pop("ierrors", None))
    for end, keys in NEEDED.items():
        for key in keys:
            case(f"without-{key}", [[end, "missing-key"]], lambda of, data: data.pop(key) if of == end else None)
    for end, key in (("tx", "opackets"), ("rx", "rx_packets")):
        case(f"short-{end}", [[end, "too-few-samples"], [end, "unequal-lengths"]], setting(end, key, numpy.arange(SAMPLES - 1)))
        case(f"empty-{end}", [[end, "too-few-samples"], [end, "unequal-lengths"]], setting(end, key, numpy.arange(0)))
        case(f"table-{end}", [[end, "wrong-form"]], setting(end, key, numpy.zeros((SAMPLES, 2), dtype=numpy.int64)))
        case(f"scalar-{end}", [[end, "wrong-form"]], setting(end, key, numpy.int64(7)))
        case(f"text-{end}", [[end, "wrong-form"]], setting(end, key, numpy.array(["7"] * SAMPLES)))
    case("objects", [["rx", "wrong-form"]], setting("rx", "rx_pps", numpy.array([7, None, {}, 1, 2, 3], dtype=object)))
    case("several-things", [["tx", "missing-key"], ["rx", "too-few-samples"], ["rx", "unequal-lengths"]],
         lambda end, data: data.pop("obytes") if end == "tx" else data.update(tx_pps=numpy.arange(1)))

    files = case("torn", [["tx", "torn"]])
    files["tx"].write_bytes(files["tx"].read_bytes()[:-100])
    files = case("cut-short", [["rx", "torn"]])
    files["rx"].write_bytes(files["rx"].read_bytes()[:40])
    files = case("nothing-in-it", [["rx", "torn"]])
    files["rx"].write_bytes(b"")
    files = case("altered", [["rx", "torn"]])
    content = bytearray(files["rx"].read_bytes())
    at = content.index(numpy.int64(4000).tobytes())
    content[at] ^= 0xFF
    files["rx"].write_bytes(content)
    files = case("one-end-unnamed", [["", "unreadable"]])
    files["tx"].rename(files["tx"].with_name("samples.npz"))
    expected["no-files"] = [["", "missing-file"]]
    (root / "no-files").mkdir()
    print(json.dumps(expected))


main()
