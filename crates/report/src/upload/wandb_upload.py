"""Hands an experiment to Weights & Biases.

Reads the experiment as JSON from standard input. Writes one line of JSON to standard output: what became of it, or why nothing did.
"""

import json
import os
import sys

# The current directory often holds a directory "wandb" with runs, which must not be taken for the SDK.
sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]
# This process is not what was measured: neither its load nor its program belong into the run.
for name in ("WANDB_X_DISABLE_STATS", "WANDB__DISABLE_STATS", "WANDB_X_DISABLE_META", "WANDB__DISABLE_META",
             "WANDB_DISABLE_GIT", "WANDB_DISABLE_CODE"):
    os.environ.setdefault(name, "true")

KEY_WORDS = ("api key", "api_key", "logged in", "log in", "unauthor", "authent", "permission", "401", "403", "forbidden")


def kind_of(error):
    """Which remedy fits."""
    text = f"{type(error).__name__} {error}".lower()
    if any(word in text for word in KEY_WORDS):
        return "key"
    if type(error).__name__ == "CommError" or isinstance(error, OSError):
        return "network"
    return "other"


def upload(wandb, experiment):
    """Makes one run of the experiment; returns what to tell of it."""
    run = wandb.init(
        project=experiment["project"],
        name=experiment["name"],
        config=experiment["config"],
        tags=experiment["tags"],
        settings=wandb.Settings(console="off", silent=True),
    )
    try:
        for row in experiment["rows"]:
            run.log(row)
        run.summary.update(experiment["summary"])
        if experiment["report"]:
            artifact = wandb.Artifact(f"report-{experiment['id']}", type="report")
            for path in experiment["report"]:
                artifact.add_file(path)
            run.log_artifact(artifact)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
    return {
        "run": experiment["name"],
        "project": experiment["project"],
        "offline": bool(run.offline),
        "url": run.url or None,
        "directory": os.path.dirname(run.settings.sync_file),
        "history_rows": len(experiment["rows"]),
        "report_files": len(experiment["report"]),
    }


def main():
    """Returns the exit code."""
    # The SDK prints where it likes, and asks for a key where it can.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    experiment = json.load(sys.stdin)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    try:
        import wandb

        wandb.init, wandb.Settings
    except (ImportError, AttributeError) as error:
        answer = {"error": {"kind": "sdk", "message": str(error)}}
    else:
        try:
            answer = upload(wandb, experiment)
        except Exception as error:
            # What follows the first line is advice on the SDK's own calls.
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            answer = {"error": {"kind": kind_of(error), "message": message}}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    return 1 if "error" in answer else 0


sys.exit(main())
