"""Flows inside the tools of others.

`sbi.posterior_nn` and `sbi.likelihood_nn`, `nessai.flow_class`, and `zuko.to_zuko`, for pocoMC and
other tools that take a Zuko flow; `hub.push_to_hub` and `hub.from_pretrained` for the Hugging Face
Hub; `export.exported` for `torch.export` and ONNX.
"""

from invflow.adapters import export, hub, nessai, sbi, zuko

__all__ = ["export", "hub", "nessai", "sbi", "zuko"]
