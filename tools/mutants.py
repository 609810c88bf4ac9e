"""Which small changes of a module do its tests not notice?

    pip install cosmic-ray
    KERAS_BACKEND=torch python tools/mutants.py actx_tf/losses.py \\
        tests/test_losses.py

Cosmic Ray makes the changes ("mutants"): another operator, another number, a
condition turned round. Each is run in a process of its own, forked from one
that has imported the backend, until a test fails; no file is changed. What
survives is printed, and at the end how many were killed. A survivor is a test
that is missing, or changes nothing that can be seen.
"""

import argparse
import difflib
import importlib.abc
import importlib.util
import os
import re
import sys
from pathlib import Path

import keras  # noqa: F401 (takes longest to import)
import parso.python.tree
import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.number_replacer import NumberReplacer
from cosmic_ray.plugins import get_operator
from cosmic_ray.plugins import operator_names

# Changes of what is an annotation (`|`), and a few of the many of one place.
LEFT_OUT = re.compile(
    r"BinaryOperator_\w+_(BitAnd|BitOr|BitXor|LShift|RShift|Mod|Pow|FloorDiv)$"
    r"|BinaryOperator_(BitOr|Pow)_"
    r"|UnaryOperator_USub_(Invert|Not|UAdd)$"
    r"|ComparisonOperator_\w+_(Is|IsNot)$"
    r"|ComparisonOperator_(NotEq|Eq)_(Gt|GtE|Lt|LtE)$"
    r"|NumberReplacer$|Variable(Inserter|Replacer)$"
)
# A test ends after 60 seconds, as a mutant's may never.
PYTEST = ["-xq", "-pno:cacheprovider", "--assert=plain", "-otimeout=60"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    flags = parser.parse_args()
    source = flags.module.read_text(encoding="utf-8")
    if not passes(source, flags):
        sys.exit("the tests fail without a mutant")
    mutants = list(dict.fromkeys(mutate(source)))
    survivors = 0
    for mutant in mutants:
        if passes(mutant, flags):
            survivors += 1
            _, _, *changes = difflib.unified_diff(
                source.splitlines(), mutant.splitlines(), lineterm="", n=0
            )
            print("\n".join(changes), flush=True)
    killed = len(mutants) - survivors
    print(f"{flags.module}: {killed} of {len(mutants)} mutants were killed")


def mutate(source):
    """Yields the text of each mutant."""
    operators = [
        get_operator(name)()
        for name in operator_names()
        if not LEFT_OUT.search(name)
    ]
    for operator in [*operators, OtherNumber()]:
        number = 0
        while mutant := mutate_code(source, operator, number):
            if mutant != source:
                yield mutant
            number += 1


class OtherNumber(NumberReplacer):
    """As Cosmic Ray's, but those such as 1e-9 become larger by far."""

    def mutate(self, node, index):
        value = eval(node.value)
        if "e" in node.value:
            value *= 1e5 ** (1 - 2 * index)
        else:
            value += 1 - 2 * index
        return parso.python.tree.Number(f" {value}", node.start_pos)


class Mutant(importlib.abc.SourceLoader, importlib.abc.MetaPathFinder):
    """Imports a text in the place of a module's file."""

    def __init__(self, path, text):
        self.path, self.text = path, text

    def find_spec(self, name, path=None, target=None):
        if name != ".".join(self.path.with_suffix("").parts):
            return None
        return importlib.util.spec_from_loader(name, self)

    def get_filename(self, name):
        # No such file: AutoGraph, which compiles the source once more, would
        # read that of the file.
        return str(self.path.resolve().with_suffix(".mutant.py"))

    def get_data(self, path):
        return self.text.encode()


def passes(text, flags):
    """Whether the tests pass with this text as the module."""
    process = os.fork()
    if not process:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.meta_path.insert(0, Mutant(flags.module, text))
        os._exit(pytest.main([*PYTEST, *flags.tests]))
    return os.waitpid(process, 0)[1] == 0


if __name__ == "__main__":
    main()
