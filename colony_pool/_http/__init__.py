"""One request and its answer. urllib3 does HTTP; what stands here is what it lacks, each with its reason.

=================  ===========================================================================================
``slots``          the bulkhead: a greenlet that is killed while it waits gives back no slot that it never had
``pools``          a pool for each gevent hub: a socket belongs to the hub that made it; and what a fork leaves
``connection``     what a connection lacks: an end from outside, a deadline, an answer that is taken strictly
``cancel``         ends a request from another task, and never the next one on the same socket
``exchange``       one ``urlopen``: bodies of bounded size, and one map of all its errors
``transport``      a slot, a deadline, an exchange
=================  ===========================================================================================

All private names of urllib3 and http.client that this library uses (``tests/unit/http/test_private_names.py`` finds
them):

=============  =================================================  ==============================================
name           what it keeps                                      what would end it
=============  =================================================  ==============================================
``_new_conn``  G3, G4: a connection that is being made can be     a way to cancel a request that has no response
               ended from another task, and all addresses of a    yet, urllib3#1602 (closed: not planned), and one
               host share one connect timeout                     timeout for all addresses, urllib3#2055, #797
=============  =================================================  ==============================================
"""
