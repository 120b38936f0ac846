"""``SummaryWriter`` by the tensorboardX package, which writes files that TensorBoard reads."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

try:
    from tensorboardX import SummaryWriter as _Writer
except ImportError as error:  # as PyTorch's own needs the tensorboard package
    raise ImportError(
        "tilegrad.utils.tensorboard needs the package tensorboardX: pip install tensorboardX"
    ) from error

__all__ = ["SummaryWriter"]


def _plain(value: Any) -> Any:
    """Tensors, inside containers too, as NumPy arrays; single numbers as numbers.

    Dtypes stay, since pixels in uint8 are not those in float; NumPy lacks bfloat16 alone.
    """
    if isinstance(value, Tensor):
        if value.ndim == 0:
            return value.item()
        value = value.detach().cpu()
        return (value.float() if value.dtype.itemsize == 2 else value).numpy()
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


class SummaryWriter(_Writer):
    """tensorboardX's writer that takes tensors wherever it takes arrays, and PyTorch's arguments.

    It needs the package soundfile for ``add_audio`` and moviepy for ``add_video``.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        **options: Any,
    ) -> None:
        place = None if log_dir is None else str(log_dir)
        super().__init__(
            place, comment, purge_step, max_queue, flush_secs, filename_suffix, **options
        )
        self.log_dir = self.logdir

    def get_logdir(self) -> str:
        """The directory that the files are written to."""
        return self.logdir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """One number; ``new_style`` and ``double_precision`` change nothing."""
        super().add_scalar(tag, _plain(scalar_value), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Sound: (channels, samples) with one or two channels, or (samples), in [-1, 1]."""
        sound = _plain(snd_tensor)
        if getattr(sound, "ndim", 1) == 2 and sound.shape[0] <= 2 < sound.shape[1]:
            sound = sound.T  # tensorboardX has time first
        super().add_audio(tag, sound, global_step, sample_rate, walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: Any = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Hyperparameters and what came of them; ``hparam_domain_discrete`` changes nothing."""
        super().add_hparams(_plain(hparam_dict), _plain(metric_dict), run_name, global_step)

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError: models are not traced."""
        raise NotImplementedError(
            "SummaryWriter.add_graph: tilegrad does not trace models, so there is no graph to write"
        )


def _attach() -> None:
    def wrap(original: Any) -> Any:
        def add(self: Any, *args: Any, **kwargs: Any) -> Any:
            plain = {key: _plain(value) for key, value in kwargs.items()}
            return original(self, *map(_plain, args), **plain)

        add.__name__, add.__doc__ = original.__name__, original.__doc__
        return add

    for name in dir(_Writer):
        if name.startswith("add_") and name not in vars(SummaryWriter):
            setattr(SummaryWriter, name, wrap(getattr(_Writer, name)))


_attach()
