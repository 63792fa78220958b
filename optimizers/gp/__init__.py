"""Bayesian optimisation with a Gaussian process, in reading order:

optimizer     `GaussianProcess`: ask and tell, from the pieces below
learner       what `gp` and `tpe` share: design, results, pending suggestions
coordinates   the space in the model: numbers with distances, choices without
design        the first points: a scrambled Sobol sequence with each value of each choice
kernel        correlations of two points, by their distance
fit           length scales, noise, compression by maximum a posteriori
success       probability that an experiment does not fail, learned from failures
belief        where the user expects the best
density       points where good results are dense and others are not
acquisition   log expected improvement, times the probability of success
maximise      continuous coordinates by gradient and discrete ones by search, in turn
"""
