"""Distillation: a flow that is fast to sample learns a density that is not."""

from invflow.density.distillation.distill import distill
from invflow.density.distillation.losses import GRADIENTS, Objective
from invflow.density.distillation.report import Closeness, closeness
from invflow.density.distillation.teacher import DensityTeacher, Draws, FlowTeacher, Teacher

__all__ = [
    "GRADIENTS",
    "Closeness",
    "DensityTeacher",
    "Draws",
    "FlowTeacher",
    "Objective",
    "Teacher",
    "closeness",
    "distill",
]
