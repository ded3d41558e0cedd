"""How good a model is: figures with intervals, simple baselines beside them, and a report that one can look at."""
