"""``python -m kaogen``: what `torchrun -m kaogen train ...` starts."""

from kaogen.cli.main import run

if __name__ == "__main__":
    run()
