"""What Debian's azure-cli 2.45.0 needs in order to run its own commands.

Debian ships it with azure-mgmt-authorization 3.0.0, which is newer than what it
was written for. Three things then fail before, or whatever, a server answers:

1. az reads operations.config; the library has called it _config since 2.0.
2. az passes create() the argument custom_headers, which the library hands on to
   requests, which knows no such argument.
3. az compares the message of an error with a text; the library now puts the
   error's code in front of it.

Put this folder on PYTHONPATH: Python imports a module of this name at its start.
az itself is not changed, and an az without these faults behaves as before.
"""

import functools
import importlib.abc
import importlib.machinery
import operator
import sys

PACKAGE = "azure.mgmt.authorization."


def plain_message(error):
    """The message of an error as az expects it: without its code."""
    inner = getattr(error, "error", None)
    if inner is not None and getattr(error, "status_code", None) == 409:
        error.message = inner.message
    return error


def old_create(create):
    """create() as it was: it takes custom_headers and raises plain messages."""

    @functools.wraps(create)
    def wrapped(self, *args, custom_headers=None, **kwargs):
        try:
            return create(self, *args, **kwargs)
        except Exception as error:
            raise plain_message(error)

    return wrapped


def repair(module):
    for name, cls in vars(module).items():
        if not isinstance(cls, type) or not name.endswith("Operations"):
            continue
        if not hasattr(cls, "config"):
            cls.config = property(operator.attrgetter("_config"))
        if name == "RoleAssignmentsOperations":
            cls.create = old_create(cls.create)


class RepairingLoader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        repair(module)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if not (name.startswith(PACKAGE) and name.endswith("_operations")):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = RepairingLoader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
