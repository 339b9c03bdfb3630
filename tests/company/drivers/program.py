"""Runs the program that standard input holds, as a notebook would: `await` may stand at its top level."""

import ast
import asyncio
import inspect
import sys

names = {"__name__": "__main__"}
running = eval(compile(sys.stdin.read(), "program", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
if inspect.iscoroutine(running):
    asyncio.run(running)
