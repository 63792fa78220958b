"""Reports, charts and exports of results. Nothing here writes into a project.

axes         the axis of each hyperparameter
scales       positions of results on an axis, the best result so far, ticks
importance   how much of the variation each hyperparameter explains
curves       the values of a metric by step, read from the files of a run
facts        the data of a report, independent of its format
svg          charts as SVG, without JavaScript
report       the report as HTML and Markdown
tensorboard  the log folder for TensorBoard's HParams tab
optuna       the experiments as a study of Optuna
"""
