import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_pulse_cache(tmp_path_factory):
    """Keep the tests away from the user's pulse cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CUDAQ_TARGET_CACHE_DIR", str(tmp_path_factory.mktemp("pulses")))
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _own_settings(tmp_path_factory):
    """Keep the tests away from the user's settings."""
    from cudaq_target import options

    patch = pytest.MonkeyPatch()
    for variable in (*options.QPU_RESOURCE_VARIABLES, *os.environ):
        if variable != "CUDAQ_TARGET_CACHE_DIR" and variable.startswith(
            (options.ENVIRONMENT_PREFIX, *options.QPU_RESOURCE_VARIABLES)
        ):
            patch.delenv(variable, raising=False)
    nowhere = tmp_path_factory.mktemp("settings") / "config.toml"
    patch.setattr(options, "user_file", lambda: nowhere)
    yield
    patch.undo()


@pytest.fixture
def stock_target():
    """Leave CUDA-Q on its own simulator, whatever the test selects."""
    import cudaq

    yield
    cudaq.set_target("qpp-cpu")
