"""The methods, one file each. A new file in this folder is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from tokendrop.reducers.base import Reducer

REDUCERS: dict[str, type[Reducer]] = {}

for _module in pkgutil.iter_modules(__path__):
    for _value in vars(importlib.import_module(f"{__name__}.{_module.name}")).values():
        if isinstance(_value, type) and issubclass(_value, Reducer) and _value is not Reducer:
            REDUCERS[_value.__name__] = _value
