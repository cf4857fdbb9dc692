"""``python -m tests.scenarios NAME RUNTIME``."""

import sys
import warnings

name, kind = sys.argv[1:]
sys.modules["redis"] = None  # type: ignore[assignment]  # pybreaker would import it: a third of the start, for nothing
warnings.simplefilter("error")
if kind == "gevent-late":
    # As an application does that imports its libraries first. gevent says that it is late for ssl; it is.
    import colony_pool.pool  # noqa: F401

    warnings.simplefilter("ignore")
if kind in ("gevent", "gevent-late"):
    from gevent import monkey

    monkey.patch_all()
warnings.simplefilter("error")

from tests.scenarios import SCENARIOS, World, load  # noqa: E402
from tests.support.namespaces import Impossible  # noqa: E402

load()
world = World(kind)
try:
    SCENARIOS[name][0](world)
    print("ok")
except Impossible as reason:
    print(f"skip: {reason}")
finally:
    world.close()
