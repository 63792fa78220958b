"""Reports, charts and exports of results; writes nothing into a project.

axes         the axis of each hyperparameter
scales       results in order, the best so far, ticks
importance   which hyperparameters matter
curves       a metric over steps, read from a run's files
facts        the data of a report
svg          charts without JavaScript
report       HTML and Markdown
tensorboard  the log folder for TensorBoard's HParams tab
optuna       a study for Optuna
"""
