"""Small servers that answer for services nobody can run on a laptop: Code Ocean, the metadata service.

The real clients talk to them over real HTTP. They exist for the embedded stack and for the tests, so
each can be told to fail (:mod:`include.local.stand_ins.faults`) and keeps what it was given in one file.
"""
