"""PaiNN and its gradient written for the processor: the network of the compiled runtime.

The C++ files are compiled on the machine that runs them (``library``); ``packing`` brings weights
into the order in which they are read; ``network`` is the module that stands in for the trainer's;
``program`` makes an exported program of it.
"""
