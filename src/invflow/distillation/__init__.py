"""Distillation: a flow that is fast to sample learns a density that is slow to sample."""

from invflow.distillation.closeness import Closeness, closeness
from invflow.distillation.distill import distill
from invflow.distillation.losses import GRADIENTS, Objective
from invflow.distillation.teacher import DensityTeacher, Draws, FlowTeacher, Teacher

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
