"""Trains the tiny task without dropout, as one of the workers that TF_CONFIG tells.

Usage: worker.py FOLDER OUTPUT STRATEGY
"""

import pathlib
import sys


def main(folder, output, strategy_name):
    """Runs; the strategy comes first, before anything else uses TensorFlow."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from training.strategy import DistributionConfig, make_strategy

    strategy = make_strategy(DistributionConfig(strategy_name))
    import test_training

    run = test_training.Tiny(pathlib.Path(folder))
    trainer = run.trainer(
        output,
        strategy=strategy,
        task=test_training.WithoutDropout(run.task),
        eval_steps=3,
    )
    print(trainer.train(run.train, run.dev, {}))


if __name__ == "__main__":
    main(*sys.argv[1:])
