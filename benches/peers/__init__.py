"""Times Secateur beside other engines. Started with `python -m peers`."""
