"""What everything stands on: errors, registries, files of which nothing is believed.

Nothing here knows torch; numbers are those of numpy.
"""
