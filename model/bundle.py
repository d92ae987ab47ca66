"""A loaded model: modules, vocabulary and card, held together.

Knows how parts are shaped into one whole, not how they are used.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from model.codec import Codec
from model.composer import Composer
from model.conditioning.embeddings import normalised
from model.config import ModelConfig
from model.errors import ConfigError
from model.finisher import Finisher
from model.listener import Listener
from model.loudness import CodeLoudness
from model.prior import Prior
from model.student import Student
from model.upsampler import Upsampler

TOP = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Card:
    """What a user may know of the weights."""

    name: str
    fingerprint: str
    artists: tuple[str, ...]
    genres: tuple[str, ...]
    licence: str
    output_licence: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """The parts of one model, in evaluation mode."""

    config: ModelConfig
    card: Card
    codec: Codec
    top: Prior
    upsamplers: tuple[Upsampler, Upsampler]
    student: Student
    finisher: Finisher
    composer: Composer
    listener: Listener
    loudness: CodeLoudness

    @property
    def priors(self) -> tuple[Prior, Prior, Prior]:
        """Return the teacher's priors by level."""
        return self.upsamplers[0].prior, self.upsamplers[1].prior, self.top

    @property
    def codebook(self) -> Float[Tensor, "codebook latents"]:
        """Return the top level's codebook as students read it."""
        return self.student.codebook


def empty_bundle(config: ModelConfig, card: Card) -> Bundle:
    """Return the parts with untrained weights.

    Raises:
        ConfigError: The configuration lacks a part that streaming needs.
    """
    if (
        config.student is None
        or config.finisher is None
        or config.composer is None
        or config.listener is None
    ):
        raise ConfigError(
            f"{config.name} lacks student, finisher, composer or listener: it cannot stream"
        )
    bundle = Bundle(
        config=config,
        card=card,
        codec=Codec(config.codec),
        top=Prior(config.priors[TOP]),
        upsamplers=(Upsampler(config.priors[0]), Upsampler(config.priors[1])),
        student=Student(config.student),
        finisher=Finisher(config.finisher, config.codec.codebook_size),
        composer=Composer(config.composer),
        listener=Listener(config.listener),
        loudness=CodeLoudness(config.codec.codebook_size),
    )
    for part in modules(bundle).values():
        part.eval().requires_grad_(False)
    return bundle


def share_codebook(bundle: Bundle) -> None:
    """Hand the codec's top codebook, normalised, to the student and the finisher."""
    codebook = normalised(bundle.codec.level(TOP).quantizer.codebook)
    bundle.student.codebook.copy_(codebook)
    bundle.finisher.codebook.copy_(codebook)


def modules(bundle: Bundle) -> dict[str, nn.Module]:
    """Return the parts by the name they have in files of weights."""
    return {
        "codec": bundle.codec,
        "top": bundle.top,
        "upsampler0": bundle.upsamplers[0],
        "upsampler1": bundle.upsamplers[1],
        "student": bundle.student,
        "finisher": bundle.finisher,
        "composer": bundle.composer,
        "listener": bundle.listener,
        "loudness": bundle.loudness,
    }
