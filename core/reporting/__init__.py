"""Results drawn and handed out; writes nothing into a project.

progress     a search as it goes on; run and resume, which show it
axes         the axis of each hyperparameter
scales       results in order, the best so far, ticks
importance   which hyperparameters matter
curves       a metric over steps, read again from a run's files
facts        what a report says
svg          charts without a script
report       HTML and Markdown
tensorboard  the log folder for TensorBoard's HParams tab
optuna       a study for Optuna
"""
