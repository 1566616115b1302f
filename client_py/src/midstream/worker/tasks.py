"""Finds the tasks in the modules that a worker was given, and the version of their code."""

import importlib
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final

from midstream.task import Task

VERSION_VARIABLE: Final = "MIDSTREAM_CODE_VERSION"


class TasksNotFound(Exception):
    """A module or a task in it is missing, or the module raised. The message is for a person, and says what to do."""


def load(names: Iterable[str]) -> dict[str, Task[Any, Any]]:
    """The tasks of `module:attribute` or `module`, by task name. Raises TasksNotFound."""
    tasks: dict[str, Task[Any, Any]] = {}
    for name in names:
        module_name, _, attribute = name.partition(":")
        module = _module(module_name)
        found = [_attribute(module, attribute)] if attribute else _all_in(module)
        for task in found:
            other = tasks.setdefault(task.name, task)
            if other is not task:
                raise TasksNotFound(
                    f"two tasks are named {task.name!r}: {_place(other)} and {_place(task)}. Rename one of them."
                )
    return tasks


def code_version(task: Task[Any, Any]) -> str:
    """MIDSTREAM_CODE_VERSION, else the task's own: what it was given, or a hash of its file."""
    return os.environ.get(VERSION_VARIABLE) or task.code_version


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise TasksNotFound(
                f"the module {name!r} imports {error.name!r}, which is not installed here. "
                "Install it in the worker's environment."
            ) from error
        looked = "\n".join(f"  {place or '.'}" for place in sys.path)
        hint = "write it with dots and without `.py`" if name.endswith(".py") or "/" in name else _directory_hint(name)
        raise TasksNotFound(f"there is no module {name!r}: {hint}. Looked in (sys.path):\n{looked}") from error
    except Exception as error:
        import traceback

        trace = "".join(traceback.format_exception(error))
        raise TasksNotFound(f"the module {name!r} raised while it was imported:\n{trace.rstrip()}") from error


def _directory_hint(name: str) -> str:
    file = f"{name.replace('.', '/')}.py"
    return f"start the worker in the directory that has {file}, or name that directory with --directory or PYTHONPATH"


def _attribute(module: ModuleType, attribute: str) -> Task[Any, Any]:
    value: object = module
    for part in attribute.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Task):
        return value
    there = ", ".join(sorted(f"{module.__name__}:{name}" for name in _names_in(module))) or "none"
    if value is None:
        raise TasksNotFound(f"the module {module.__name__!r} has no {attribute!r}. Tasks in it: {there}.")
    raise TasksNotFound(
        f"{module.__name__}:{attribute} is a {type(value).__name__}, not a task: decorate it with @task. "
        f"Tasks in the module: {there}."
    )


def _all_in(module: ModuleType) -> list[Task[Any, Any]]:
    found = list(_names_in(module).values())
    if not found:
        raise TasksNotFound(
            f"the module {module.__name__!r} ({module.__file__}) has no tasks: decorate an async function with "
            '@midstream.task("name").'
        )
    return found


def _names_in(module: ModuleType) -> dict[str, Task[Any, Any]]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Task)}


def _place(task: Task[Any, Any]) -> str:
    return f"{task.function.__module__}:{task.function.__qualname__}"
