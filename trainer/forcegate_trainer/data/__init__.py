"""From molecules to labelled frames, in the order of work.

molecules/ who they are and their splits, sampling/ geometries, labelling/ what a teacher says of
them, importing and capture/ frames of others, description/ what a data set holds.
"""
