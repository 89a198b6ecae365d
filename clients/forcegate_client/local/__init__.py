"""Students in this process, without a server: what ``pip install forcegate-client[local]`` is for.

Nothing else in this package knows the engine. ``versions`` finds a model, ``survey`` looks at
structures, ``student`` is a model that answers, ``models`` stands where a ``Client`` stands
otherwise, ``calculator`` is ASE's.
"""
