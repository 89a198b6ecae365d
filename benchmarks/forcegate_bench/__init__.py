"""Everything that is timed, as one command.

Its rooms, none of which knows those after it:

    machine/   its cores, processes and processor
    report/    clocks, rows of one form, plots
    subjects/  what is evaluated: structures, and models with their baselines in process
    load/      the load generator: requests made beforehand, closed and open loops, outcomes
    servers/   the gateway, and what is measured beside it, in processes of their own
    engine/    what is measured of students in this process
    serving/   what is measured of a gateway
    cli/       the command, and what stands around each measurement

``paths`` is known by all of them.
"""
