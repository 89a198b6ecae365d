"""The gateway that serves forcegate models.

The rooms, in the order in which a request meets them:

    cli/         `forcegate-serve`
    testing.py   gateways for tests, in process or on a port
    api/         the door: HTTP, keys, routes, the page, what leaves as a problem
    dynamics/    the way of a run, which the server moves itself; `sessions.py` has it
    predict/     the way of a request: read, prepare, await, respond; `flow.py` has all of it
    reading/     structures out of files, in a process of its own
    models/      which versions are served, and which one a request means
    queue/       how much may wait, whose turn it is, and what runs together
    runtimes/    what evaluates: the engine beside the gateway, TorchScript, Triton, a toy
    watch/       what is known afterwards: metrics, novelty, shadow, capture, runs of dynamics
    settings.py  everything that can be set
    machine.py   cores, memory and rounding of a process
    contract/    what all of them speak of: structures, graphs, cards, runtimes, errors

A room imports those below it, and none above.
"""
