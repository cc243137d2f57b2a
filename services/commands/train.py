"""Train a policy on recorded episodes.

EPISODES is a folder of HDF5 files (observations/images uint8 [T, H, W, 3], instructions, actions float32 [T, D]) or a
LeRobot data set, v2.1 or v3.0.
--config is a YAML file with 'policy' (what becomes the checkpoint's config.yaml), 'training', 'augment' and
'tokenizer'. The output folder is a checkpoint that 'jetvla build' takes, complete after every --checkpoint-every
steps; training/ in it holds the loss plot and the state from which --resume goes on exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("episodes", type=Path, metavar="EPISODES", help="folder of episodes")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="training file (YAML)")
    parser.add_argument("--epochs", type=int, help="passes over the training episodes")
    parser.add_argument("--batch-size", type=int, help="samples per step")
    parser.add_argument("--lr", type=float, dest="learning_rate", help="peak learning rate")
    parser.add_argument("--seed", type=int, help="of weights, order, dropout and augmentation")
    parser.add_argument("--checkpoint-every", type=int, metavar="N", help="steps between checkpoints")
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads that compute (default: every core; 1 is faster while other programs are busy)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")


def run(arguments: argparse.Namespace) -> int:
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.checkpoint import read_yaml
    from jetvla.engines.recorded_names import check_action_names
    from jetvla.engines.training.settings import training_settings
    from jetvla.engines.training.trainer import STATE, Trainer
    from jetvla.runtime.errors import ConfigError

    if (arguments.output / STATE).exists() and not arguments.resume:
        raise ConfigError(f"{arguments.output} holds a training run; add --resume, or choose another -o")
    names = ("epochs", "batch_size", "learning_rate", "seed", "checkpoint_every")
    overrides = {name: getattr(arguments, name) for name in names}
    settings = training_settings(read_yaml(arguments.config), str(arguments.config), overrides)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    console = Console()
    with console.status("reading episodes"):
        episodes = open_episodes(arguments.episodes)
        trainer = Trainer(settings, episodes, arguments.output)
        action = trainer.policy.settings.action
        warning = check_action_names(action, episodes, arguments.config, "policy", "action")
    if warning is not None:
        console.print(warning, markup=False, highlight=False, soft_wrap=True)
    if arguments.resume:
        trainer.resume()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=trainer.total, completed=trainer.step)
        for report in trainer.run():
            progress.update(task, completed=report.step, description=f"loss {report.loss:.4f}")
            if report.held_out is not None:
                progress.print(f"step {report.step}: held-out loss {report.held_out:.4f}")
    console.print(f"checkpoint: {arguments.output}")
    return 0
