"""``python -m colony_pool`` is ``colony-pool``."""

from .cli import main

raise SystemExit(main())
