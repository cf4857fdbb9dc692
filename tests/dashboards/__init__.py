"""Tests of ``dashboards/``: everything in it is answered by a real Prometheus that has seen the real library."""
