"""C programs around the Verilated accelerator: the driver, a network and a main program, compiled as firmware would be.

``sim/driver/`` holds the board: the bus that the driver is given, on top of the functions of ``sim/native``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dataflows.config import Config
from dataflows.errors import InputError
from sim.build import build

BOARD = Path(__file__).resolve().parent / "driver"
RUN = BOARD / "run.c"
"""The main program that runs a network on inputs from a file."""

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
"""How everything is compiled."""


def c_compiler() -> str:
    """Path of the C compiler: ``$CC``, or the first of gcc, cc, clang. Raises :class:`InputError`."""
    wanted = os.environ.get("CC")
    for name in [wanted] if wanted else ["gcc", "cc", "clang"]:
        found = shutil.which(name)
        if found is not None:
            return found
    raise InputError(f"no C compiler was found ({wanted or 'gcc, cc or clang'}); install one, or name it by CC")


def compile_program(cfg: Config, hardware: Path, network: Path, name: str, output: Path, main: Path = RUN) -> Path:
    """Compile a program that drives the Verilated accelerator.

    Parameters
    ----------
    cfg : Config
    hardware : path
        Folder that ``rtl.emit`` has written: Verilog, ``<name>.h`` and the driver.
    network : path
        Folder that ``python -m mapper`` has written: ``<name>_network.c`` and what belongs to it.
    name : str
        The network's name in C.
    output : path
        The executable.
    main : path
        The main program.

    Returns
    -------
    Path
        ``output``.

    Raises
    ------
    InputError
        When a tool is missing, or the compiler refuses something.
    """
    model = build(hardware / f"{cfg.name}.v", cfg.name)
    defines = {
        "NETWORK": f"{name}_network", "NETWORK_HEADER": f'"{name}_network.h"',
        "ACCELERATOR_HEADER": f'"{cfg.name}.h"', "ACCELERATOR_HASH": f"{cfg.name.upper()}_HASH",
    }  # fmt: skip
    command = [
        c_compiler(), *STRICT, "-O1", *(f"-D{key}={value}" for key, value in defines.items()),
        *(f"-I{folder}" for folder in (hardware, network, BOARD)),
        str(main), str(BOARD / "board.c"), str(hardware / "stationary.c"),
        str(network / f"{name}_network.c"), str(network / f"{name}_network.S"),
        str(model), f"-Wl,-rpath,{model.parent}", "-o", str(output),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"the C compiler refused the program:\n{result.stderr[:4000].strip()}")
    return output
