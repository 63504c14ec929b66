"""List the programs.

python -m experiments
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import sys

from experiments.runs.console import exit_code

PROGRAMS = {
    "mnist_lenet": "Train and prune LeNet-5 on MNIST.",
    "cifar_vgg": "Train and prune a VGG-like network on CIFAR-10.",
    "text_transformer": "Train and prune a small transformer on Python's manual.",
    "pareto_front": "Trace a Pareto front by many trainings; train its knee.",
    "figures": "Draw runs from their directories, alone or compared.",
    "reproduce": "Run the trainings and the searches of the results page.",
    "report": "Make a page of results from run directories.",
    "benchmark": "Measure steps, networks, devices, checkpoints and inference.",
}


def main() -> None:
    """Print the programs, or the version."""
    if "--version" in sys.argv[1:]:
        import bopt

        print(f"bopt {bopt.__version__}")
        return
    print("Start a program with python -m experiments.PROGRAM; --help lists options.\n")
    for name, line in PROGRAMS.items():
        print(f"  {name:17}{line}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
