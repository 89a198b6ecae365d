"""Distils a teacher potential into PaiNN students.

The rooms, in the order in which a student comes to be:

    simulation/  potentials of many structures, and how they move
    network/     PaiNN, and students on disk
    teachers/    methods that are right but slow, by name
    data/        molecules, geometries of them, and a teacher's labels
    fit/         a student from labelled frames
    export/      a version for servers from a fitted student
    validation/  what a version is worth, and the report of it
    shadow/      a teacher that is asked about what a gateway answered
    cli/         `forcegate-train`
    demo/        all of it in minutes

A room imports those above it, and none below.
"""
