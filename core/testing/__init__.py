"""Contract suites for plugins: subclass one in a test file, name your class, run pytest.

    from studio.testing import OptimizerContract

    class TestMine(OptimizerContract):
        optimizer = Mine

The docstring of each test says what is expected.

Suites: optimizers (with journals), backends, launchers, ranges, readers (with playback). fakes has plugins for tests.
"""

from studio.testing.backends import BackendContract
from studio.testing.launchers import LauncherContract
from studio.testing.optimizers import OptimizerContract
from studio.testing.ranges import RangeParserContract
from studio.testing.readers import MetricReaderContract

__all__ = ["BackendContract", "LauncherContract", "MetricReaderContract", "OptimizerContract", "RangeParserContract"]
