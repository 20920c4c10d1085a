"""Settings by name."""

from __future__ import annotations

from typing import Any

#: What a preset changes in the settings of a run; options given next to it take precedence.
PRESETS: dict[str, dict[str, Any]] = {
    # Layers of latent maps, small enough for two cores.
    "small": {
        "network": "resnet-vae",
        "depths": (2,),
        "feature_maps": 32,
        "latent_maps": 4,
        "optimizer": "adamax",
        "learning_rate": 2e-3,
        "schedule": "constant",
        "averaging_decay": 0.998,
        "free_bits": 0.05,
        "steps": 4000,
        "batch_size": 64,
        "importance_samples": 50,
    },
    # Kingma et al. 2016, section 6.1 and appendix B: 32 latents, the smallest of its flows.
    "paper-mnist": {
        "data": "mnist",
        "network": "resnet",
        "likelihood": "bernoulli",
        "latents": 32,
        "hidden_features": (16, 32, 32),
        "context": 450,
        "flow_transforms": 2,
        "flow_hidden_features": (320,),
        "optimizer": "adamax",
        "learning_rate": 2e-3,
        "schedule": "constant",
        "averaging_decay": 0.999,
        "steps": 200_000,
        "evaluate_every": 2000,
        "importance_samples": 128,
    },
    # Kingma et al. 2016, section 6.2 and appendix C: the largest model.
    "paper-cifar": {
        "data": "cifar10",
        "network": "resnet-vae",
        "likelihood": "shared-logistic",
        "posteriors": ("iaf",),
        "depths": (20,),
        "feature_maps": 160,
        "latent_maps": 32,
        "flow_hidden_features": (160, 160),
        "optimizer": "adamax",
        "learning_rate": 2e-3,
        "schedule": "constant",
        "averaging_decay": 0.999,
        "free_bits": 0.1,
        "steps": 500_000,
        "batch_size": 32,
        "evaluate_every": 5000,
        "importance_samples": 128,
    },
}
