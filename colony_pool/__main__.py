"""``python -m colony_pool``."""

from .cli import main

raise SystemExit(main())
