"""Set up and operate a deployment: settings, logs, health, processes, bootstrap, key ceremony,
doctor.

Does not know pages, the command line or the demo.
"""
