"""The plugin file, which every process of Airflow imports."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from include.portal.trigger_check import TriggerCheck

PLUGIN = Path(__file__).parents[2] / "plugins" / "trigger_check_plugin.py"


def test_importing_it_loads_nothing_of_the_project():
    # Task processes import it too, and need none of it.
    code = (
        "import airflow.plugins_manager, runpy, sys\n"
        f"runpy.run_path({str(PLUGIN)!r})\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'include'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.filterwarnings("ignore:Using `httpx`")  # Airflow's own imports
def test_it_puts_the_check_before_the_app_that_it_is_given():
    plugin = runpy.run_path(str(PLUGIN))["TriggerCheckPlugin"]
    [entry] = plugin.fastapi_root_middlewares
    assert isinstance(entry["middleware"](object()), TriggerCheck)
