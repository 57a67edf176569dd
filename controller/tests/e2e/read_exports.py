"""Reads an experiment's exported files with the libraries that their users have, and compares every value with the store's.

Usage: read_exports.py EXPERIMENT_DIRECTORY
"""

import csv
import json
import sys
from pathlib import Path

import numpy
import openpyxl
import pyarrow.parquet

RATES = (
    "mbits_tx pkts_tx obytes opackets imissed oerrors rx_nombuf pkts_rx mbits_rx ipackets ibytes ierrors".split()
)
PORT = {
    "port_rx_nombuf": "rx_nombuf",
    "port_opackets": "tx_packets",
    "port_imissed": "rx_missed",
    "port_ierrors": "rx_errors",
    "port_ibytes": "rx_bytes",
    "port_oerrors": "tx_errors",
    "port_obytes": "tx_bytes",
    "port_ipackets": "rx_packets",
}
RECEIVER = "rx_pps tx_pps rx_bytes tx_bytes rx_packets tx_packets rx_errors rx_missed rx_nombuf".split()
XLSX = [
    "Test Description",
    "Observed Statistics",
    "Rate (%)",
    "VM / TCA TKG",
    "SLA Target",
    "Reference TCA/TGK",
    "Conclusion",
]


def rates(times, counts, start):
    """Counts per second between samples, rounded to the nearest whole number (halves up)."""
    found = []
    for time, count in zip(times, counts):
        earlier_time, earlier_count = start
        elapsed = time - earlier_time
        found.append(((count - earlier_count) * 10**9 + elapsed // 2) // elapsed if elapsed > 0 else 0)
        start = (time, count)
    return found


def weighed(rates, times, start):
    """The mean of rates over the time that each is of."""
    return numpy.average(rates, weights=numpy.diff(times, prepend=start))


def load(path, samples):
    """The arrays of an npz file, which are all 1-D, of 64-bit integers, one value per row; and the samples that are its rows."""
    with numpy.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    rows = len(arrays["time_ns"])
    for key, array in arrays.items():
        assert array.dtype == numpy.int64, (path, key, array.dtype)
        assert array.shape == (rows,), (path, key, array.shape)
    read = arrays["read_ns"].tolist()
    kept = [sample for sample in samples if sample["at_ns"] in read]
    assert [sample["at_ns"] for sample in kept] == read and kept[-1] == samples[-1], (path, read)
    assert arrays["time_ns"].tolist()[:-1] == read[:-1] and arrays["time_ns"][-1] <= read[-1]
    return arrays, kept


def check_port(arrays, samples):
    for key, field in PORT.items():
        assert arrays[key].tolist() == [sample["port"][field] for sample in samples], key


def check_transmitter(path, record):
    arrays, samples = load(path, record["samples"]["tx"])
    assert set(RATES) | set(PORT) <= set(arrays)
    check_port(arrays, samples)
    times = arrays["time_ns"].tolist()
    assert abs(times[-1] - 1e9 * record["result"]["duration_s"]) <= 1 or times[-1] == samples[-1]["at_ns"], times
    for key, field in (("pkts_tx", "tx_packets"), ("opackets", "tx_packets"), ("obytes", "tx_bytes")):
        assert arrays[key].tolist() == rates(times, [sample["port"][field] for sample in samples], (0, 0)), key
    assert arrays["tx_packets"].tolist() == [sample["transmit"]["packets"] for sample in samples]
    assert abs(weighed(arrays["pkts_tx"], times, 0) / record["result"]["offered_pps"] - 1) < 0.001
    assert arrays["tx_queue_full"].tolist() == [sample["transmit"]["queue_full"] for sample in samples]
    return arrays


def check_receiver(path, record):
    arrays, samples = load(path, record["samples"]["rx"])
    assert set(RECEIVER) <= set(arrays)
    check_port(arrays, samples)
    for key, field in (("rx_packets", "packets"), ("rx_bytes", "bytes"), ("rx_duplicates", "duplicates")):
        assert arrays[key].tolist() == [sample["receive"][field] for sample in samples], key
    assert record["result"]["rx_queue_frames"] == [arrays[f"rx_queue_{queue}_frames"].max() for queue in (0, 1)]
    for queue in (0, 1):
        assert arrays[f"rx_queue_{queue}_frames"].tolist() == [sample["queue_frames"][queue] for sample in samples]
    times, counts = arrays["time_ns"].tolist(), [sample["receive"]["packets"] for sample in samples]
    delay = record["result"]["latency_ns"]
    if delay is not None:
        assert arrays["rx_pps"].tolist() == rates(times, counts, (delay["min"], 0))
        ended = 1e9 * record["result"]["duration_s"] + delay["p50"]
        assert abs(times[-1] - ended) <= 1 or times[-1] == samples[-1]["at_ns"], (times, ended)
        mean, received = weighed(arrays["rx_pps"], times, delay["min"]), record["result"]["received_pps"]
        assert abs(mean / received - 1) < 0.05, (mean, received)
    return arrays


def check_trial(directory, trial, name):
    record = json.loads((directory / trial["trial"]).read_text())
    place = (directory / trial["trial"]).parent
    (tx,) = place.glob(f"{name}_tx0_tx_txcores_*_rxcores_*_spec_{trial['profile']}_????????_??????.npz")
    (rx,) = place.glob(f"{name}_rx0_rx_txcores_*_rxcores_*_spec_{trial['profile']}_????????_??????.npz")
    arrays = {"tx": check_transmitter(tx, record), "rx": check_receiver(rx, record)}
    lost = arrays["tx"]["port_opackets"].max() - arrays["rx"]["rx_packets"].max()
    assert lost == trial["lost_packets"], (lost, trial["lost_packets"])
    for file, keys in (("tx0_port_rate_stats.csv", RATES), ("tx0_port_stats.csv", None)):
        for index, line in enumerate((place / file).read_text().splitlines()):
            stamp, *pairs = line.split(",")
            assert len(stamp) == len("YYYY-MM-DDTHH:MM:SS") and stamp[10] == "T"
            values = dict(pair.split("=") for pair in pairs)
            assert keys is None or list(values) == keys
            for key, value in values.items():
                key = key if keys else f"port_{key}"
                assert int(value) == arrays["tx"][key][index], (file, key)
    for end in ("tx", "rx"):
        with open(place / f"{end}0_samples.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for key, array in arrays[end].items():
            assert [int(row[key]) for row in rows] == array.tolist(), key
    for file in ("metadata.txt", "rx0_stats.log", "rx0_warmup.log", "tx0_warmup.log"):
        assert (place / file).stat().st_size > 0, file
    metadata = dict(line.split("=", 1) for line in (place / "metadata.txt").read_text().splitlines())
    assert metadata["expid"] == name and metadata["profile"] == trial["profile"]
    return arrays


def main():
    directory = Path(sys.argv[1])
    summary = json.loads((directory / "summary.json").read_text())
    name = summary["experiment"]["id"]
    table = pyarrow.parquet.read_table(directory / "samples.parquet").to_pylist()
    rows = 0
    for trial in summary["trials"]:
        for end, arrays in check_trial(directory, trial, name).items():
            wanted = (trial["profile"], trial["repeat"], end)
            seen = [row for row in table if (row["profile"], row["repeat"], row["end"]) == wanted]
            rows += len(seen)
            for key, array in arrays.items():
                assert [row[key] for row in seen] == array.tolist(), key
    assert rows == len(table) > 0

    workbook = openpyxl.load_workbook(directory / f"{name}.xlsx")
    report = list(workbook["Report"].values)
    assert list(report[0]) == XLSX and len(report) == 1 + len(summary["trials"])
    head, *figures = list(workbook["Trials"].values)
    for row, trial in zip(figures, summary["trials"], strict=True):
        row = dict(zip(head, row))
        for key in ("sent_packets", "received_packets", "lost_packets", "offered_pps", "duration_s"):
            assert row[key] == trial[key], key

    assert {"Topology", "Environment"} <= set(workbook.sheetnames), workbook.sheetnames
    if any(trial["repeat"] > 1 for trial in summary["trials"]):
        means = {(row[0], row[1], row[2]): row for row in workbook["Repeats"].values}
        for profile, pair in {(trial["profile"], trial["pair"]) for trial in summary["trials"]}:
            loads = [trial["received_pps"] / 1e6 for trial in summary["trials"] if (trial["profile"], trial["pair"]) == (profile, pair)]
            row = means[profile, pair, "received Mpps"]
            assert row[3] == len(loads) and abs(row[4] - numpy.mean(loads)) < 1e-6, row
            assert abs(row[5] - numpy.std(loads, ddof=1)) < 1e-6, row

    with open(directory.parent / "summary_all_experiments.csv", newline="") as file:
        lines = [row for row in csv.DictReader(file) if row["exp_id"] == name]
    for row, trial in zip(lines, summary["trials"], strict=True):
        assert int(row["tx_packets"]) == trial["sent_packets"]
        assert int(row["rx_packets"]) == trial["received_packets"]
        assert float(row["tx_mpps"]) == round(trial["offered_pps"] / 1e6, 6)
    print(f"{len(summary['trials'])} trials, {rows} samples")


main()
