"""One request and its answer. urllib3 does HTTP; what stands here is what it lacks, each with its reason.

=================  ===========================================================================================
``slots``          the bulkhead: a greenlet that is killed while it waits gives back no slot that it never had
``pools``          a pool for each gevent hub: a socket belongs to the hub that made it; and what a fork leaves
``resolver``       look-ups of host names: one at a time, shared by all who need it meanwhile
``dialer``         connects to the first address that answers, and to none that is silent for long
``connection``     what a connection lacks: an end from outside, a deadline, an answer that is taken strictly
``cancel``         ends a request from another task, and never the next one on the same socket
``exchange``       one ``urlopen``: bodies of bounded size, and one map of all its errors
``transport``      a slot, a deadline, an exchange
=================  ===========================================================================================

One private name of urllib3 is left, ``_new_conn``: ``tests/README.md`` has the table of all such names.
"""
