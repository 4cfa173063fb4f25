"""How a deployment is set up and kept: settings, logs, health, processes, bootstrap, key ceremony, doctor.

Does not know pages, the command line or the demo.
"""
