"""The documents are true: generated pages are fresh, commands run and print what the page says, links lead somewhere.

Blocks marked ``sh`` and ``python`` are run in the order of their page, in an empty folder that has the bundled products
beside it; a ``text`` block right after one is what it prints. Other blocks (``console``, ``toml``) are only read.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.flight as fl
import pytest
from adbc_driver_flightsql import dbapi
from conftest_path import ServedBy
