"""The dashboard, its rules and its runbook. Not part of the installed package; see ``README.md`` in this folder."""
