"""Runs the reference implementation of MLRsearch on modelled systems.

Reads a list of jobs from standard input, {"model", "goals", "min_pps", "max_pps", "seed"}, and prints their results.
"""

import json
import sys

from MLRsearch import (
    AbstractMeasurer,
    Config,
    MeasurementResult,
    MultipleLossRatioSearch,
    SearchGoal,
)

MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

GOALS = {
    "ndr": dict(loss_ratio=0.0, initial_trial_duration=1.0, final_trial_duration=1.0, duration_sum=21.0),
    "pdr": dict(loss_ratio=0.005, initial_trial_duration=1.0, final_trial_duration=1.0, duration_sum=21.0),
    "rfc2544": dict(
        loss_ratio=0.0,
        exceed_ratio=0.0,
        initial_trial_duration=60.0,
        final_trial_duration=60.0,
        duration_sum=60.0,
        preceding_targets=0,
    ),
    "tst009": dict(
        loss_ratio=0.0,
        initial_trial_duration=60.0,
        final_trial_duration=60.0,
        duration_sum=120.0,
        preceding_targets=1,
    ),
}


def goal(name):
    usual = dict(exceed_ratio=0.5, relative_width=0.005, preceding_targets=2, fail_fast=False)
    return SearchGoal(**{**usual, **GOALS[name]})


def draw(seed, ordinal):
    z = (seed * GOLDEN + ordinal * FIRST + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    z ^= z >> 31
    return (z >> 11) / 2.0**53


class Model(AbstractMeasurer):
    def __init__(self, model, seed):
        self.model, self.seed, self.ordinal, self.sending_s = model, seed, 0, 0.0

    def lost(self, sent, seconds, load, value):
        model = self.model
        kind = model["kind"]
        capacity = model.get("capacity_pps", 0.0)
        if kind == "linear":
            return int(max(0.0, sent / seconds - model["knee_pps"]) * model["lost_share"] * seconds)
        if kind == "jitter":
            capacity *= 1.0 + model["spread"] * (2.0 * value - 1.0)
        if kind == "warm-up" and self.ordinal < model["cold_trials"]:
            capacity *= model["cold_share"]
        lost = max(0, sent - int(seconds * capacity))
        if kind == "buffer":
            lost = max(0, lost - int(model["buffer_packets"]))
        if kind == "floor":
            lost = max(lost, int(sent * model["loss_floor"]))
        if kind == "hole" and model["hole_from_pps"] <= load <= model["hole_to_pps"]:
            lost = max(lost, int(sent * model["hole_loss"]))
        if kind == "stalls" and value < 1.0 - (1.0 - model["stall_probability_per_s"]) ** seconds:
            lost += int(sent / seconds * model["stall_s"])
        return lost

    def measure(self, intended_duration, intended_load):
        intended = int(intended_duration * intended_load)
        sent = intended
        if self.model["kind"] == "generator-limited":
            sent = min(intended, int(intended_duration * self.model["generator_pps"]))
        lost = min(sent, self.lost(sent, intended_duration, intended_load, draw(self.seed, self.ordinal)))
        self.ordinal += 1
        self.sending_s += intended_duration
        return MeasurementResult(
            intended_duration=intended_duration,
            intended_load=intended_load,
            offered_count=sent,
            forwarding_count=sent - lost,
            intended_count=intended,
        )


def pps(value):
    return None if value is None else float(value)


def run(job):
    goals = {name: goal(name) for name in job["goals"]}
    config = Config()
    config.goals = list(goals.values())
    config.max_load, config.min_load = float(job["max_pps"]), float(job["min_pps"])
    config.search_duration_max, config.warmup_duration = 1e9, None
    model = Model(job["model"], job["seed"])
    found = MultipleLossRatioSearch(config=config).search(measurer=model, debug=lambda text: None)
    results = {}
    for name, of in goals.items():
        lower = pps(found[of].relevant_lower_bound)
        upper = pps(found[of].relevant_upper_bound)
        narrow = lower is not None and upper is not None and upper - lower <= 0.005 * upper * 1.000001
        results[name] = {
            "lower": lower,
            "upper": upper,
            "throughput": pps(found[of].conditional_throughput) if lower is not None else None,
            "regular": narrow,
        }
    return {"goals": results, "sending_s": model.sending_s}


json.dump([run(job) for job in json.load(sys.stdin)], sys.stdout)
