"""Training: the jitted step, the optimizer, trainer, loop and front search."""
