"""The families of models that can be trained, and how a named size of one becomes a model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenoscale.errors import UserError
from phenoscale.models.ca_mae import SIZES as CA_MAE_SIZES
from phenoscale.models.ca_mae import ChannelAgnosticMae, ChannelAgnosticMaeConfig
from phenoscale.models.mae import SIZES as MAE_SIZES
from phenoscale.models.mae import MaskedAutoencoder, MaskedAutoencoderConfig
from phenoscale.models.mu_net import SIZES as MU_NET_SIZES
from phenoscale.models.mu_net import MuNet, MuNetConfig
from phenoscale.models.objectives import TrainingModel
from phenoscale.models.wsl import SIZES as WSL_SIZES
from phenoscale.models.wsl import WeaklySupervisedConfig, WeaklySupervisedModel


@dataclass(frozen=True)
class Family:
    """One family: the frozen dataclass that describes a model of it, the model, and its named sizes."""

    config_type: type[Any]
    model_type: type[TrainingModel]
    sizes: Mapping[str, Mapping[str, Any]]

    @property
    def settings(self) -> tuple[str, ...]:
        """What can be set about a model of the family."""
        return tuple(field.name for field in dataclasses.fields(self.config_type))


FAMILIES: dict[str, Family] = {
    "mae": Family(MaskedAutoencoderConfig, MaskedAutoencoder, MAE_SIZES),
    "ca_mae": Family(ChannelAgnosticMaeConfig, ChannelAgnosticMae, CA_MAE_SIZES),
    "mu_net": Family(MuNetConfig, MuNet, MU_NET_SIZES),
    "wsl": Family(WeaklySupervisedConfig, WeaklySupervisedModel, WSL_SIZES),
}


# what the crops and their labels say about a model, besides its settings
FACTS = ("num_channels", "num_classes", "crop_size")


def find_family(name: str) -> Family:
    """The family of a name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in FAMILIES:
        raise UserError(f"there is no model family {name!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def model_config(
    family: str, *, size: str, num_channels: int, num_classes: int | None = None, **changes: Any
) -> Any:
    """The description of a named size of a family, with single settings changed.

    Args:
        family: a name in FAMILIES.
        size: a name in the family's sizes.
        num_channels: channels of the crops.
        num_classes: classes of a family that learns from labels; others ignore it.
        changes: settings that differ from the size's.

    Raises:
        UserError: no such family or size, a setting that the family lacks, or dimensions that do not fit.
    """
    found = find_family(family)
    if size not in found.sizes:
        raise UserError(
            f"there is no size {size!r} of model family {family}; choose one of {', '.join(found.sizes)}"
        )
    unknown = [name for name in changes if name not in found.settings]
    if unknown:
        own = [name for name in found.settings if name not in FACTS]
        raise UserError(
            f"model family {family} has no setting {', '.join(unknown)}; leave it out, or choose among "
            f"{', '.join(own)}"
        )
    facts: dict[str, Any] = {"num_channels": num_channels}
    if "num_classes" in found.settings:
        facts["num_classes"] = num_classes
    return found.config_type(**{**facts, **found.sizes[size], **changes})


def family_of(config: Any) -> str:
    """The name of the family that a description belongs to."""
    return next(name for name, family in FAMILIES.items() if type(config) is family.config_type)


def build_model(config: Any, *, seed: int) -> TrainingModel:
    """The model that a description of any family stands for, with weights drawn from a seed."""
    model_type: Any = FAMILIES[family_of(config)].model_type
    model: TrainingModel = model_type(config, seed=seed)
    return model
